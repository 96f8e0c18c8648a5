"""`tinybft simulate`: the real core under seeded faults, in virtual time.

sim.py        class Sim: what a scenario can do            oracles.py   what must hold (FAULTS)
frames.py     messages as a scenario sees them             swarm.py     random scenarios
operations.py operations of the key-value store            byzantine.py named behaviours
configs.py    small configurations of any size             trace.py     the story of a run
command.py    the command line                             campaign.py  many seeds on all cores
"""

"""`tinybft cluster`, `status`, `kv` and `bench`: a group of real processes on this machine.

What runs in the replica processes on MicroPython: replica, driver, workload, ledger, latency.
What runs on the host: commands (the command line), plans, files, processes, run, reports,
checks, result, table, kept (a cluster that stays), keyvalue, bench, instructions.
"""

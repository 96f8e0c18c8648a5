"""`tinybft cluster`, `status`, `kv` and `bench`: a group of real processes on this machine.

What runs in the replica processes on MicroPython: replica, driver, workload, ledger, latency,
times, tap. What runs on the host: commands (the command line), plans, files, provision,
processes, run, outage and powercuts (what befalls a run), sniffer, reports, checks, result,
table, kept (a cluster that stays), keyvalue, bench, failover, instructions.
"""

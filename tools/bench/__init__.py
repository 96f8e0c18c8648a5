"""What the library costs: benchmarks on this machine, beside its floor and beside Raft."""

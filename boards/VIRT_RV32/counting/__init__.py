"""Frozen into a firmware of its own by `tinybft bench --virt` (tools/virt/bench.py)."""

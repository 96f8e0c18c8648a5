"""Emulated boards on this machine: QEMU, a radio between them, and what happens to them."""

"""Boards at serial ports: what is on them, firmware and identity written to them, their logs."""

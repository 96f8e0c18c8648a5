"""`tinybft firmware`: MicroPython with the core, a HAL and a service frozen into it."""

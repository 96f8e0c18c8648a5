"""`tinybft memory`: what a configuration takes of RAM: by the paper's model, in the regions, on
the heap of a 32-bit MicroPython; and which configurations fit a budget."""

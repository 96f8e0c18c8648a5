"""What differs between interpreters and firmwares, so that one source runs on all.

`const` and the decorators `@micropython.native` and `@micropython.viper` are resolved by
MicroPython's compiler and cost nothing there; on CPython they are the identity. So are viper's
`ptr8(buffer)`, which CPython checks the bounds of, and `uint(number)`: a function that reads
octets by `ptr8` alone, compares numbers of 32 bits as `uint` and stores `value & 255` is the same
on both. Viper's functions have no default arguments.

`set_interrupt_char(char)` says which character from the console raises KeyboardInterrupt (3 is
Ctrl-C, -1: none does, each is an ordinary character) and returns the one before. Who masks Ctrl-C
for a while needs the one before: MicroPython's prompt masks it too, and where it does an
exception that comes from nowhere restarts an ESP32. `micropython.kbd_intr` does not tell it; the
module `ctrl_c` of this project's boards does. Elsewhere,

    without threads    nothing is to be done: MicroPython raises no KeyboardInterrupt in what
                       runs from its scheduler, but after it
    with threads       it stays masked until the next line of the REPL begins. A program that
                       runs meanwhile does not see Ctrl-C; no other choice is safe
"""

import sys

try:
    import micropython
    from micropython import const
except ImportError:

    def const(value):
        return value

    class micropython:  # noqa: N801 - takes the place of the module
        @staticmethod
        def native(function):
            return function

        viper = native

    import builtins

    builtins.ptr8 = lambda buf: buf
    builtins.uint = int


try:
    from ctrl_c import set_interrupt_char
except ImportError:
    _MASKED = const(-1)

    if hasattr(sys.implementation, "_thread") and hasattr(micropython, "kbd_intr"):

        def set_interrupt_char(char):
            micropython.kbd_intr(char)
            return _MASKED

    else:

        def set_interrupt_char(char):
            return _MASKED


__all__ = ("const", "micropython", "set_interrupt_char")

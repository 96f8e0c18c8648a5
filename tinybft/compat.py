"""The three names that CPython lacks, so that one source runs on both interpreters.

`const` and the `@micropython.native` decorator are resolved by MicroPython's compiler and
cost nothing there; on CPython they are the identity.
"""

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


__all__ = ("const", "micropython")

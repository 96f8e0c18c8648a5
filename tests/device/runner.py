"""Runs one test module on MicroPython: `micropython tests/device/runner.py MODULE`.

Calls every function `test_...` of the module in the order of their names, prints a line for
each, and exits with 1 when one of them failed. The repository is on MICROPYPATH.
"""

import sys


def tests_of(module):
    names = [name for name in dir(module) if name.startswith("test_")]
    return [(name, getattr(module, name)) for name in sorted(names)]


def run(module):
    """Call all tests; return (passed, failed)."""
    passed = failed = 0
    for name, test in tests_of(module):
        try:
            test()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a test that calls sys.exit has failed too
            failed += 1
            print("FAILED", name)
            sys.print_exception(error)
        else:
            passed += 1
            print("ok", name)
    return passed, failed


def main(module_name):
    __import__(module_name)
    passed, failed = run(sys.modules[module_name])
    print(module_name, "passed:", passed, "failed:", failed)
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

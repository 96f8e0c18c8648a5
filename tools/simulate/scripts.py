"""What users bring: a scenario (a file with `def scenario(sim):`), a service (module:Class).

Their mistakes are told as file, line and words (Refusal, exit code 2). A scenario whose
assertion fails is not a mistake: it has found something (`ScenarioFailed`, exit code 1).
"""

import importlib
import os
import sys
import traceback

from tinybft.service import Service
from tools.refusal import Refusal
from tools.simulate.configs import configuration
from tools.simulate.oracles import Violation


class ScenarioFailed(Exception):
    """An assertion of a scenario does not hold; `words` say where."""

    oracle = "scenario"

    def __init__(self, words):
        super().__init__(words)
        self.words = words


def load_scenario(path):
    """The function `scenario` of a file; raises Refusal."""
    try:
        with open(path, encoding="utf-8") as file:
            source = file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise Refusal(f"{path}:1: cannot be read ({reason}); name a Python file") from error
    try:
        code = compile(source, path, "exec")
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        words = getattr(error, "msg", None) or str(error)
        raise Refusal(f"{path}:{line}: not Python: {words}; correct the spelling") from error
    names = {"__name__": "scenario", "__file__": path}
    _put_on_path(os.path.dirname(os.path.abspath(path)))
    try:
        exec(code, names)
    except Exception as error:  # noqa: BLE001 - it is the user's
        raise _refusal(path, error) from error
    scenario = names.get("scenario")
    if not callable(scenario):
        raise Refusal(f"{path}:1: no function `scenario`; write `def scenario(sim):`")
    return scenario


def run_script(path, sim, ms=None):
    """Call the scenario, let `ms` more pass, check once more. Violation or ScenarioFailed."""
    scenario = load_scenario(path)
    try:
        scenario(sim)
        sim.run(ms or 0)
        sim.check()
    except (Violation, Refusal):
        raise
    except AssertionError as error:
        words = str(error) or _source_line(path, error)
        raise ScenarioFailed(f"{_place(path, error)}: assertion does not hold: {words}") from error
    except Exception as error:  # noqa: BLE001 - it is the user's
        raise _refusal(path, error) from error


def _frame_in(path, error):
    """The innermost frame of the traceback that lies in the script, or None."""
    found = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
    return found[-1] if found else None


def _place(path, error):
    frame = _frame_in(path, error)
    return f"{path}:{frame.lineno if frame else 1}"


def _source_line(path, error):
    frame = _frame_in(path, error)
    if frame is None:
        return "assert"
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()[frame.lineno - 1].strip()


def _refusal(path, error):
    words = f"{type(error).__name__}: {error}"
    return Refusal(f"{_place(path, error)}: the script fails: {words}; correct it")


def load_service(name):
    """Keyword arguments for Sim of a service "module:Class": the class, its state's length."""
    if name is None:
        return {}
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name:
        raise Refusal(f"--service {name}: write module:Class, as in tinybft.apps.kv:KeyValueStore")
    _put_on_path(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise Refusal(
            f"--service {name}: no module {error.name}; run it where `import {module_name}` works"
        ) from error
    except Exception as error:  # noqa: BLE001 - it is the user's
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename}:{getattr(error, 'lineno', None) or frame.lineno}"
        raise Refusal(
            f"--service {name}: {place}: {type(error).__name__}: {error}; correct the module"
        ) from error
    service = getattr(module, class_name, None)
    if service is None:
        raise Refusal(f"--service {name}: {module.__file__} has no {class_name}")
    if not (isinstance(service, type) and issubclass(service, Service)):
        raise Refusal(f"--service {name}: {class_name} is no subclass of tinybft.service.Service")
    default = configuration()
    blocks = -(-service.state_length // default.BLOCK_LENGTH)
    pages = service().pages_max(default.REQUEST_LENGTH_MAX, default.PAGE_LENGTH)
    return {
        "service": service,
        "STATE_LENGTH": max(default.STATE_LENGTH, blocks * default.BLOCK_LENGTH),
        "BATCH_PAGES_MAX": max(default.BATCH_PAGES_MAX, pages),
    }


def _put_on_path(folder):
    if folder not in sys.path:
        sys.path.insert(0, folder)

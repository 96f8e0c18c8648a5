"""What a manifest freezes, read without a MicroPython checkout.

The names that MicroPython's tools/manifestfile.py gives to a manifest, as far as this project's
and an application's use them. What lies in a MicroPython tree, named by "$(MPY_DIR)/..." and the
like, is left out.
"""

import contextlib
import os
from pathlib import Path

from tools.refusal import Refusal


class _Options:
    """Keyword arguments of `include` as attributes; None when neither given nor a default."""

    def __init__(self, given):
        self._values = given

    def defaults(self, **values):
        self._values = values | self._values

    def __getattr__(self, name):
        return self._values.get(name)


class _Reader:
    def __init__(self):
        self.files = {}

    def include(self, manifest, **options):
        if manifest.startswith("$("):
            return
        path = Path(manifest).absolute()
        with contextlib.chdir(path.parent):
            exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), self.names(options))

    def names(self, options):
        return {
            "options": _Options(options),
            "include": self.include,
            "package": self.package,
            "module": self.module,
            "freeze": self.freeze,
        }

    def package(self, package_path, files=None, base_path=".", opt=None):
        if files is None:
            files = [
                file.relative_to(Path(base_path, package_path))
                for file in sorted(Path(base_path, package_path).rglob("*.py"))
            ]
        for file in files:
            self.module(os.path.join(package_path, file), base_path, opt)

    def module(self, module_path, base_path=".", opt=None):
        path = Path(base_path, module_path).absolute()
        if not path.is_file():
            raise FileNotFoundError(f"no module {path}")
        self.files[Path(module_path).as_posix()] = path

    def freeze(self, path):
        """Every module below a folder, named from there."""
        if not path.startswith("$("):
            for file in sorted(Path(path).rglob("*.py")):
                self.module(file.relative_to(path), path)


def frozen_files(manifest, **options):
    """{name on the device: path} of the Python files that a manifest freezes; raises Refusal."""
    reader = _Reader()
    try:
        reader.include(str(manifest), **options)
    except Exception as error:  # a manifest is a program
        raise Refusal(f"{manifest}: {type(error).__name__}: {error}") from error
    return reader.files

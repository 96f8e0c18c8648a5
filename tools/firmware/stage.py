"""The sources of one firmware: copies with its own configuration, and what to freeze of them.

    <folder>/firmware.py           the manifest to build with: the two below
             manifest.py           the project's
             application/...       modules and packages of the application, if any
             tinybft/, hal/        the device modules; tinybft/config.py is this firmware's
             boards/<board>/main.py    what runs after reset

Copies get the present time, so that a build which looks at times compiles them anew.
"""

import shutil
from pathlib import Path

from tools.config import generate
from tools.firmware.lean import make_lean
from tools.refusal import Refusal

ROOT = Path(__file__).resolve().parents[2]
PLATFORMS = {"TINYBFT_C3": "esp32c3", "VIRT_RV32": "virt"}  # board: module of hal/
_TAKEN = {"tinybft", "hal", "main", "boot", "_boot"}


def stage(  # noqa: PLR0913 - what a firmware is made of
    folder, config_path, board, main=None, includes=(), measured=None, lean=True
):
    """Lay out the sources in `folder` anew; returns the path of the manifest to build with.

    main: a file that takes the place of the board's main.py. includes: modules (files) and
    packages (folders), frozen under their own names. measured: the main.py whose firmware the
    given main only measures (lean.py). lean=False: sources as they are. Raises Refusal before
    anything is written.
    """
    folder = Path(folder).absolute()
    text = generate(config_path)
    main = _checked_main(board, main)
    includes = [_checked_include(path) for path in includes]
    names = [path.name for path in includes]
    for name in names:
        if names.count(name) > 1:
            raise Refusal(f"--include {name}: given twice; rename one of the two")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("tinybft", "hal"):
            _copy(ROOT / name, folder / name)
        _copy(ROOT / "manifest.py", folder / "manifest.py")
        if (ROOT / "boards" / board / "modules").is_dir():
            _copy(ROOT / "boards" / board / "modules", folder / "boards" / board / "modules")
        _copy(main, folder / "boards" / board / "main.py")
        for path in includes:
            _copy(path, folder / "application" / path.name)
        (folder / "tinybft" / "config.py").write_text(text, encoding="utf-8")
        manifest = folder / "firmware.py"
        manifest.write_text(_manifest(board, includes), encoding="utf-8")
        if lean:
            make_lean(folder, manifest, measured)
    except OSError as error:
        raise Refusal(
            f"{error.filename}: {error.strerror}; firmware is staged in {folder}: make room"
            " there or choose another --output"
        ) from error
    return manifest


def _manifest(board, includes):
    lines = [f'include("manifest.py", hal="{PLATFORMS[board]}")']
    for path in includes:
        kind = "package" if path.is_dir() else "module"
        lines.append(f'{kind}("{path.name}", base_path="application")')
    return "\n".join(lines) + "\n"


def _copy(source, target):
    """Copy a module, or a package's .py files."""
    files = [source] if source.is_file() else sorted(source.rglob("*.py"))
    for file in files:
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def _checked_main(board, main):
    path = ROOT / "boards" / board / "main.py" if main is None else Path(main).absolute()
    if path.suffix != ".py" or not path.is_file():
        raise Refusal(f"--main {path}: no such Python file; name the module that runs after reset")
    return path


def _checked_include(path):
    path = Path(path).absolute()
    if not (path.is_dir() and any(path.rglob("*.py")) or path.is_file() and path.suffix == ".py"):
        raise Refusal(
            f"--include {path}: neither a Python file nor a folder with one; name a module or"
            " a package of your application"
        )
    if not path.stem.isidentifier() or path.stem in _TAKEN:
        raise Refusal(
            f"--include {path}: cannot be imported as {path.stem} (not a name, or the firmware's"
            " own); rename it"
        )
    return path

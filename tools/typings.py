"""Checks the HAL of the ESP32-C3 against the stubs of MicroPython's ESP32 port, with mypy.

    python -m tools.typings [FILE ...]      default: the modules that only run on a board

The packages micropython-esp32-stubs and micropython-stdlib-stubs lie loose in site-packages,
where no type checker takes `time` or `socket` from them. So they are copied into a folder of
their own, which takes the place of mypy's own description of the standard library.
"""

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

from tools.refusal import Refusal

ROOT = Path(__file__).resolve().parent.parent
TYPINGS = ROOT / "build" / "typings"
PACKAGES = ("micropython-esp32-stubs", "micropython-stdlib-stubs")
MODULES = (
    "hal/esp32c3.py",
    "hal/espnow_air.py",
    "hal/identity_nvs.py",
    "hal/nvs_store.py",
    "hal/wifi_air.py",
    "hal/wifi_station.py",
)


def collect(folder):
    """Copy the stubs of PACKAGES into an emptied folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for package in PACKAGES:
        for file in importlib.metadata.files(package) or ():
            if file.suffix == ".pyi" or file.name == "VERSIONS":
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), target)


def check(files, folder=TYPINGS):
    """Run mypy on files against the stubs; returns what it says about them, line by line.

    The stubs have flaws of their own, which do not count.
    """
    collect(folder)
    settings = folder / "mypy.ini"
    settings.write_text(
        f"[mypy]\ncustom_typeshed_dir = {folder}\nmypy_path = {folder}\n"
        "no_site_packages = True\nfollow_imports = silent\ncheck_untyped_defs = True\n"
        # viper's ptr8 takes any buffer
        "[mypy-tinybft.octets_viper]\nfollow_imports = skip\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "mypy", "--config-file", settings]
    command += ["--cache-dir", folder / "cache", *files]
    result = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if "checked" not in result.stdout and "Success" not in result.stdout:
        raise Refusal(f"mypy did not run; install the pinned packages: make venv\n{result.stdout}")
    lines = result.stdout.splitlines()
    return [line for line in lines if line.startswith(tuple(f"{file}:" for file in files))]


def main():
    files = sys.argv[1:] or MODULES
    said = check(files)
    print(*said, f"{len(files)} files checked against the stubs", sep="\n")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tools.firmware.package`: package.json of tinybft/ and of hal/, for mip.

    mpremote mip install tinybft/package.json hal/package.json                  from this folder
    mpremote mip install github:OWNER/REPOSITORY/tinybft github:OWNER/REPOSITORY/hal

They list what manifest.py freezes for the ESP32-C3. Sources are relative to the file itself, and
so stay in its folder: hosts of repositories do not follow "..". An entry is [target, source].
"""

import json
import tomllib

from tools.firmware.frozen import frozen_files
from tools.firmware.stage import ROOT

PACKAGES = ("tinybft", "hal")


def package_text(package):
    """What <package>/package.json has to be."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = frozen_files(ROOT / "manifest.py", main=False)
    prefix = f"{package}/"
    urls = [[name, name.removeprefix(prefix)] for name in names if name.startswith(prefix)]
    lines = ",\n".join(f"  {json.dumps(url)}" for url in urls)
    return f'{{\n "version": "{project["version"]}",\n "urls": [\n{lines}\n ]\n}}\n'


if __name__ == "__main__":
    for name in PACKAGES:
        (ROOT / name / "package.json").write_text(package_text(name), encoding="utf-8")

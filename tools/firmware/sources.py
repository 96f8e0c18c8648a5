"""Sources that Debian keeps and a git checkout may replace: MicroPython, mbedTLS.

The machine's own apt configuration says where packages come from; here it is asked for source
packages of another suite, which changes nothing of the machine's. apt verifies what it fetches.
"""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from tools.refusal import Refusal

# MicroPython older than 1.26 allocates when it stores into a slice.
SUITES = {"micropython": "forky", "mbedtls": "trixie"}
GET_MICROPYTHON = (
    "git clone --depth 1 --branch v1.26.1 https://github.com/micropython/micropython, then"
    " --micropython DIR or MICROPYTHON_DIR"
)
GET_MBEDTLS = (
    "git clone --depth 1 --branch v3.6.4 https://github.com/Mbed-TLS/mbedtls, then"
    " --mbedtls DIR or MBEDTLS_DIR"
)
REMEDIES = {"micropython": GET_MICROPYTHON, "mbedtls": GET_MBEDTLS}


def fetched(package, folder):
    """The folder of a Debian source package's unpacked sources, fetched once; raises Refusal."""
    folder = Path(folder).absolute()
    kept = folder / package
    if kept.is_dir():
        return kept
    if shutil.which("apt-get") is None:
        raise Refusal(f"{package}: its sources are not named; {REMEDIES[package]}")
    lists = folder / "apt"
    try:
        (lists / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (lists / "sources.list").write_text(_source_lists(), encoding="utf-8")
    except OSError as error:
        raise Refusal(f"{folder}: cannot be written ({error.strerror})") from error
    options = {
        "Dir::Etc::sourcelist": lists / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::Lists": lists / "lists",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    _run(package, [*apt, "update"], folder)
    fresh = folder / f"{package}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    _run(package, [*apt, "source", "--download-only", f"{package}/{SUITES[package]}"], fresh)
    _unpack(fresh)
    fresh.rename(kept)
    return kept


def _source_lists():
    """Lines for the suites, from the mirror and the key of the machine's own entry."""
    mirror, key = _mirror()
    options = f"[signed-by={key}] " if key else ""
    return "".join(
        f"deb-src {options}{mirror} {suite} main\n" for suite in sorted(set(SUITES.values()))
    )


def _mirror():
    """(URI, keyring or None) of Debian's archive on this machine; raises Refusal."""
    apt = Path("/etc/apt")
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        for stanza in path.read_text(encoding="utf-8").split("\n\n"):
            lines = (line.partition(":") for line in stanza.splitlines() if line[:1] != "#")
            fields = {name.strip(): value.strip() for name, _, value in lines}
            if "debian" in fields.get("URIs", "") and "security" not in fields.get("URIs", ""):
                return fields["URIs"].split()[0], fields.get("Signed-By")
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))):
        if not path.is_file():
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            words = [word for word in line.split() if not word.startswith(("[", "signed-by"))]
            is_entry = len(words) > 2 and words[0] == "deb"
            if is_entry and "debian" in words[1] and "security" not in words[1]:
                return words[1], None
    raise Refusal(
        "/etc/apt: names no Debian archive to fetch sources from; name checkouts instead:"
        f" {GET_MICROPYTHON}; {GET_MBEDTLS}"
    )


def _run(package, command, folder):
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or ["no output"]
        raise Refusal(
            f"{package}: its sources cannot be fetched ({lines[-1]}); {REMEDIES[package]}"
        )


def _unpack(folder):
    """Unpack the package's upstream tarball so that its files lie in `folder` itself."""
    (tarball,) = folder.glob("*.orig.tar.*")
    with tarfile.open(tarball) as archive:
        archive.extractall(folder, filter="tar")
    for leftover in folder.glob("*.*"):
        if leftover.is_file() and (".tar." in leftover.name or leftover.suffix == ".dsc"):
            leftover.unlink()
    (top,) = (path for path in folder.iterdir() if path.is_dir())
    top = top.rename(folder / "unpacked.top")
    for path in top.iterdir():
        path.rename(folder / path.name)
    top.rmdir()

"""What a firmware freezes: by manifest.py alone, staged, and from an application's manifest."""

import ast
import importlib
import os
import sys
from pathlib import Path

import pytest

from tests.tools.support import variant
from tools.config import ROOT
from tools.firmware.frozen import frozen_files
from tools.firmware.package import PACKAGES, package_text
from tools.firmware.sizes import compiled, module_sizes
from tools.firmware.stage import PLATFORMS, stage
from tools.refusal import Refusal

MANIFEST = ROOT / "manifest.py"
HOST_ONLY = {"hal.unix", "hal.udp", "hal.sim", "hal.filestore", "hal.cmac_cryptography"}


def module_of(name):
    return name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def imports_of(path):
    """Names of modules, and of what may be modules, that a file imports, lazily too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def exists(module):
    path = ROOT / module.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@pytest.mark.parametrize("hal", PLATFORMS.values())
def test_freezes_the_core_and_no_host(hal):
    modules = set(map(module_of, frozen_files(MANIFEST, hal=hal, main=False)))
    assert {"tinybft", "tinybft.config", "tinybft.apps.kv", "hal", "hal.crypto"} <= modules
    assert not modules & HOST_ONLY
    other = "virt" if hal == "esp32c3" else "esp32c3"
    assert f"hal.{other}" not in modules


@pytest.mark.parametrize("hal", PLATFORMS.values())
def test_what_is_imported_is_frozen(hal):
    files = frozen_files(MANIFEST, hal=hal, main=False)
    modules = set(map(module_of, files))
    others = tuple(f"hal.{name}" for name in (*PLATFORMS.values(), "unix_board") if name != hal)
    for name, path in files.items():
        for module in imports_of(path):
            if module.split(".")[0] not in ("hal", "tinybft") or not exists(module):
                continue
            if module == "hal.cmac_cryptography" or module.startswith(others):
                continue  # CPython's branch of hal.crypto; hal.boot's choice of a platform
            assert module in modules, f"{name} imports {module}, which is not frozen"


def test_an_application_leaves_out_what_it_does_not_use(tmp_path):
    own = tmp_path / "manifest.py"
    own.write_text(
        f'include("{MANIFEST}", hal="esp32c3", apps=False, main=False)\n'
        'module("main.py")\npackage("thing")\n'
    )
    (tmp_path / "main.py").touch()
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "__init__.py").touch()
    names = frozen_files(own)
    assert {"main.py", "thing/__init__.py", "tinybft/node.py"} <= set(names)
    assert not [name for name in names if name.startswith("tinybft/apps")]
    assert names["main.py"] == tmp_path / "main.py"


def test_an_unknown_platform_is_refused():
    with pytest.raises(Refusal, match=r"hal='avr': no such platform; choose one of esp32c3, virt"):
        frozen_files(MANIFEST, hal="avr")


def test_staged_sources_have_their_own_configuration(tmp_path):
    config = variant(tmp_path / "own.toml", {"group.group_id": 7})
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "__init__.py").touch()
    (tmp_path / "start.py").write_text("import thing\n")
    (tmp_path / "extra.py").touch()
    manifest = stage(
        tmp_path / "source",
        config,
        "TINYBFT_C3",
        main=tmp_path / "start.py",
        includes=[tmp_path / "thing", tmp_path / "extra.py"],
    )
    files = frozen_files(manifest)
    assert {"thing/__init__.py", "extra.py", "main.py", "tinybft/config.py"} <= set(files)
    assert "GROUP_ID = 7\n" in files["tinybft/config.py"].read_text()
    assert files["main.py"].read_text() == "import thing\n"
    assert all(path.is_relative_to(tmp_path / "source") for path in files.values())


def test_a_second_stage_forgets_the_first(tmp_path):
    (tmp_path / "extra.py").touch()
    stage(tmp_path / "s", "config.toml", "TINYBFT_C3", includes=[tmp_path / "extra.py"])
    manifest = stage(tmp_path / "s", "config.toml", "TINYBFT_C3")
    assert "extra.py" not in frozen_files(manifest)
    assert not (tmp_path / "s" / "application").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"main": "absent.py"}, "--main .*absent.py: no such Python file"),
        ({"includes": ["absent.py"]}, "--include .*absent.py: neither a Python file nor"),
        ({"includes": ["hal.py"]}, "--include .*hal.py: cannot be imported as hal"),
        ({"includes": ["two-words.py"]}, "cannot be imported as two-words"),
        ({"includes": ["x.py", "x.py"]}, "--include x.py: given twice"),
    ],
)
def test_refuses_before_it_writes(tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    for name in ("hal.py", "two-words.py", "x.py"):
        Path(name).touch()
    with pytest.raises(Refusal, match=words):
        stage("source", ROOT / "config.toml", "TINYBFT_C3", **options)
    assert not Path("source").exists()


@pytest.mark.parametrize("hal", PLATFORMS.values())
def test_every_frozen_module_compiles_for_rv32(hal):
    rows = module_sizes(frozen_files(MANIFEST, hal=hal, main=False))
    native = [name for name, length, plain in rows if length > plain]
    assert len(rows) > 60 and "tinybft/agreement.py" in native


def test_what_does_not_compile_is_refused():
    with pytest.raises(Refusal, match=r"(?s)^x.py: mpy-cross .* refuses it: .*SyntaxError"):
        compiled("x.py", "def f(:\n")


@pytest.mark.parametrize("package", PACKAGES)
def test_package_json_lists_what_is_frozen(package):
    text = (ROOT / package / "package.json").read_text(encoding="utf-8")
    assert text == package_text(package), "run `python -m tools.firmware.package`"


@pytest.mark.skipif("MICROPYTHON_DIR" not in os.environ, reason="needs MICROPYTHON_DIR")
@pytest.mark.parametrize(("board", "port"), [("TINYBFT_C3", "esp32"), ("VIRT_RV32", "qemu")])
def test_micropython_reads_the_same(tmp_path, monkeypatch, board, port):
    folder = Path(os.environ["MICROPYTHON_DIR"]).absolute()
    monkeypatch.syspath_prepend(folder / "tools")
    manifestfile = importlib.import_module("manifestfile")
    paths = {"MPY_DIR": folder, "PORT_DIR": folder / "ports" / port, "MPY_LIB_DIR": ""}
    (tmp_path / "main.py").touch()
    manifest = stage(tmp_path / "source", "config.toml", board, main=tmp_path / "main.py")
    reader = manifestfile.ManifestFile(
        manifestfile.MODE_FREEZE, {name: str(path) for name, path in paths.items()}
    )
    reader.execute(str(manifest))
    theirs = [file.target_path for file in reader.files()]
    assert len(theirs) == len(set(theirs))
    own = {file.target_path for file in reader.files() if str(tmp_path) in str(file.full_path)}
    assert own == set(frozen_files(manifest))
    assert ("asyncio/core.py" in theirs) == ("_boot.py" in theirs) == (port == "esp32")
    sys.modules.pop("manifestfile")

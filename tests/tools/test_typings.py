"""The HAL of the ESP32-C3 uses MicroPython's ESP32 port as its stubs describe it."""

from tools.typings import MODULES, ROOT, check


def test_board_modules_fit_the_stubs(tmp_path):
    assert check(MODULES, tmp_path / "typings") == []


def test_every_module_of_the_board_is_checked():
    names = {"espnow", "network", "machine", "esp32"}
    for path in (ROOT / "hal").glob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        if names & {line.removeprefix("import ") for line in lines}:
            assert f"hal/{path.name}" in MODULES


def test_misuse_is_found(tmp_path):
    """The control: stubs that are not found would let everything pass."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import time\nimport espnow\nimport machine\nimport esp32\nimport network\n\n\n"
        "def f():\n"
        "    espnow.ESPNow().recv_into(0)\n"
        "    machine.WDT(timeout='long')\n"
        "    esp32.NVS('n').get_i64('x')\n"
        "    network.WLAN(network.WLAN.IF_STA).configure(pm=0)\n"
        "    time.sleep_seconds(1)\n",
        encoding="utf-8",
    )
    said = check([wrong], tmp_path / "typings")
    assert [line.split(":")[1] for line in said] == ["9", "10", "11", "12", "13"], said

"""What a firmware freezes of this project: the core, one platform's HAL, a service.

Read by MicroPython's tools/manifestfile.py, which knows the names used here. As it stands, or
from an application's own manifest:

    include("/path/to/tinybft/manifest.py", hal="esp32c3", main=False)
    module("main.py")

    hal    the platform: "esp32c3" or "virt" (rv32 in QEMU)
    apps   the key-value store, in tinybft/apps
    main   the main.py of the platform's board, which starts a replica of the key-value store
    port   what the port itself needs: its own modules. False where the including manifest has
           them already, as by include("$(PORT_DIR)/boards/manifest.py")

tinybft/config.py is frozen as it is: `tinybft config` makes it, `tinybft firmware` a copy's own.
"""

import os

options.defaults(hal="esp32c3", apps=True, main=True, port=True)

BOARDS = {"esp32c3": "TINYBFT_C3", "virt": "VIRT_RV32"}
# Modules of hal/ that not every device has, by how their names begin.
HOST_ONLY = ("cmac_cryptography", "filestore", "impairment", "readiness", "sim", "udp", "unix")
PLATFORM_ONLY = {
    "esp32c3": (
        "datagrams",
        "esp32c3",
        "espnow",
        "fram.",
        "fram_",
        "identity_nvs",
        "messages",
        "nvs",
        "wifi",
    ),
    "virt": ("virt",),
}


def modules(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".py"))


if options.hal not in BOARDS:
    raise ValueError(f"hal={options.hal!r}: no such platform; choose one of {', '.join(BOARDS)}")
elsewhere = HOST_ONLY + sum((PLATFORM_ONLY[name] for name in BOARDS if name != options.hal), ())

package("tinybft", files=modules("tinybft"))
if options.apps:
    package("tinybft", files=[f"apps/{name}" for name in modules("tinybft/apps")])
package("hal", files=[name for name in modules("hal") if not name.startswith(elsewhere)])
if options.hal == "esp32c3":
    include("$(MPY_DIR)/extmod/asyncio")
if options.port:
    freeze("$(PORT_DIR)/modules" if options.hal == "esp32c3" else "boards/VIRT_RV32/modules")
if options.main:
    module("main.py", base_path=f"boards/{BOARDS[options.hal]}")

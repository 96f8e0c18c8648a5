# The same firmware from a MicroPython tree: make ... FROZEN_MANIFEST=.../booking/manifest.py
include("../../../manifest.py", hal="esp32c3", apps=False, main=False)
module("booking.py")
module("main.py")

# An ESP32-C3 (4 MiB of flash) as a TinyBFT replica.
set(IDF_TARGET esp32c3)

# The list is the board's own: what the port's C3 boards have in common includes Bluetooth, whose
# controller and host would take RAM that the regions need. Without boards/sdkconfig.riscv, too:
# it trades -O2 for -Os, to save flash, which partitions.csv has enough of.
# The partition table is named by its absolute path, since the port looks in its own folder.
file(WRITE ${CMAKE_BINARY_DIR}/sdkconfig.partitions
    "CONFIG_PARTITION_TABLE_CUSTOM=y\n"
    "CONFIG_PARTITION_TABLE_CUSTOM_FILENAME=\"${MICROPY_BOARD_DIR}/partitions.csv\"\n"
)
set(SDKCONFIG_DEFAULTS
    boards/sdkconfig.base
    ${MICROPY_BOARD_DIR}/sdkconfig.board
    ${CMAKE_BINARY_DIR}/sdkconfig.partitions
)

# For a plain `make BOARD_DIR=...`; `tinybft firmware` names the manifest of the sources it staged.
set(MICROPY_FROZEN_MANIFEST ${MICROPY_BOARD_DIR}/../../manifest.py)

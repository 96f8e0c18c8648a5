// An ESP32-C3 (4 MiB of flash) as a TinyBFT replica.

#define MICROPY_HW_BOARD_NAME               "TinyBFT ESP32-C3"
#define MICROPY_HW_MCU_NAME                 "ESP32C3"
#define MICROPY_PY_NETWORK_HOSTNAME_DEFAULT "tinybft"

// Modules with an USB-UART bridge: their REPL is UART0. USB-Serial/JTAG works besides.
#define MICROPY_HW_ENABLE_UART_REPL         (1)

// No Bluetooth: its RAM goes to the regions. The port's default is on, with or without the driver.
#define MICROPY_PY_BLUETOOTH                (0)

// peers_table gets an entry, on the heap, for every source address ever heard: a sender that
// makes up addresses would fill the heap. Off, ESP-NOW keeps nothing about who it hears.
#define MICROPY_PY_ESPNOW_RSSI              (0)

// The mDNS task and its buffers start with the WiFi interface; nothing here looks up names.
#define MICROPY_HW_ENABLE_MDNS_QUERIES      (0)
#define MICROPY_HW_ENABLE_MDNS_RESPONDER    (0)

// Where a name was found last, of as many names: attributes are most of what a replica looks up.
// 896 bytes of RAM more than the default of 128 take 6 % of its instructions.
#define MICROPY_OPT_MAP_LOOKUP_CACHE_SIZE   (1024)

// Drivers of what a replica does not have: flash, and the RAM of their static tables.
#define MICROPY_PY_MACHINE_I2S              (0)
#define MICROPY_HW_ENABLE_SDCARD            (0)

// machine.I2C(0) without pins: where config.toml has the FRAM by default, see pins.csv.
#define MICROPY_HW_I2C0_SDA                 (6)
#define MICROPY_HW_I2C0_SCL                 (7)

// `mpremote romfs deploy` puts modules into flash, to be run from there without RAM for their
// code; its partition is empty at first. See partitions.csv.
#define MICROPY_VFS_ROM                     (1)

# The emulated board: QEMU's "virt" machine with one rv32imc core, the ESP32-C3's instruction set.
# Built by MicroPython's qemu port (BOARD_DIR=this folder); `tinybft firmware --board VIRT_RV32`.

QEMU_ARCH = riscv32
QEMU_MACHINE = virt
LDSCRIPT = mcu/rv32/virt.ld

CFLAGS += -DQEMU_SOC_VIRT
CFLAGS += -DMICROPY_HW_MCU_NAME='"rv32imc"'
CFLAGS += -include $(BOARD_DIR)/port/port.h

# As boards/TINYBFT_C3/mpconfigboard.h has it.
CFLAGS += -DMICROPY_OPT_MAP_LOOKUP_CACHE_SIZE=1024

SRC_BOARD_O += shared/runtime/gchelper_native.o shared/runtime/gchelper_rv32i.o
MPY_CROSS_FLAGS += -march=rv32imc

# port/virt.c stands between the port and these (see there).
LDFLAGS += -Wl,--wrap=mp_init,--wrap=mp_hal_stdin_rx_chr
LDFLAGS += -Wl,--wrap=pyexec_friendly_repl,--wrap=pyexec_raw_repl

# Frozen machine code must begin at even addresses. The assembler (binutils 2.40) takes ".align 1"
# among instructions for fulfilled, whatever data of odd length came before.
$(BUILD)/frozen_content.o: CFLAGS += -mno-relax '-Daligned(n)=aligned(4)'

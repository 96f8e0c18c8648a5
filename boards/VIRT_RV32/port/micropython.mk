# The `virt` module, and AES and SHA-256 of an mbedTLS source tree (MBEDTLS_DIR), which the qemu
# port has no use for and leaves out.

VIRT_PORT_DIR := $(USERMOD_DIR)

ifeq ($(wildcard $(MBEDTLS_DIR)/library/aes.c),)
$(error MBEDTLS_DIR must name an mbedTLS 3.6 source tree)
endif

SRC_USERMOD_C += $(VIRT_PORT_DIR)/virt.c $(abspath $(VIRT_PORT_DIR)/../../ctrl_c/ctrl_c.c)
SRC_USERMOD_LIB_C += $(addprefix $(MBEDTLS_DIR)/library/, \
	aes.c constant_time.c platform_util.c sha256.c)

CFLAGS_USERMOD += -I$(MBEDTLS_DIR)/include -I$(VIRT_PORT_DIR)
CFLAGS_USERMOD += -DMBEDTLS_CONFIG_FILE='"aes_and_sha256.h"'
CFLAGS_USERMOD += -DMICROPY_PY_CRYPTOLIB=1 -DMICROPY_SSL_MBEDTLS=1
CFLAGS_USERMOD += -Wno-error

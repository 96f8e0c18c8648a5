# For USER_C_MODULES of the ports that make builds.
SRC_USERMOD_C += $(USERMOD_DIR)/ctrl_c.c

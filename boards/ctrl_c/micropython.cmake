# For USER_C_MODULES of the ports that cmake builds: the path of this file.
add_library(usermod_ctrl_c INTERFACE)
target_sources(usermod_ctrl_c INTERFACE ${CMAKE_CURRENT_LIST_DIR}/ctrl_c.c)
target_link_libraries(usermod INTERFACE usermod_ctrl_c)

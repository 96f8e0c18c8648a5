// The module `ctrl_c`: micropython.kbd_intr that also tells what was set before, so that who
// masks Ctrl-C for a while can put back what was there (tinybft/compat.py says why that matters).
//
//     ctrl_c.set_interrupt_char(char) -> char before; 3 is Ctrl-C, -1: none

#include "py/obj.h"
#include "py/mphal.h"
#include "shared/runtime/interrupt_char.h"

static mp_obj_t ctrl_c_set_interrupt_char(mp_obj_t char_in) {
    int before = mp_interrupt_char;
    mp_hal_set_interrupt_char(mp_obj_get_int(char_in));
    return MP_OBJ_NEW_SMALL_INT(before);
}
static MP_DEFINE_CONST_FUN_OBJ_1(ctrl_c_set_interrupt_char_obj, ctrl_c_set_interrupt_char);

static const mp_rom_map_elem_t ctrl_c_globals_table[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_ctrl_c) },
    { MP_ROM_QSTR(MP_QSTR_set_interrupt_char), MP_ROM_PTR(&ctrl_c_set_interrupt_char_obj) },
};
static MP_DEFINE_CONST_DICT(ctrl_c_globals, ctrl_c_globals_table);

const mp_obj_module_t ctrl_c_module = {
    .base = { &mp_type_module },
    .globals = (mp_obj_dict_t *)&ctrl_c_globals,
};

MP_REGISTER_MODULE(MP_QSTR_ctrl_c, ctrl_c_module);

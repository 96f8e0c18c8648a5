// The module `ctrl_c`: micropython.kbd_intr that also tells what was set before, so that who
// masks Ctrl-C for a while can put back what was there (tinybft/compat.py says why that matters).
//
//     ctrl_c.set_interrupt_char(char) -> char before; 3 is Ctrl-C, -1: none
//
// Ctrl-C typed while it is masked lies among the port's input as any character does, where a
// program that reads nothing never finds it. Who unmasks it takes it out and raises it.

#include "py/obj.h"
#include "py/mphal.h"
#include "py/ringbuf.h"
#include "py/runtime.h"
#include "shared/runtime/interrupt_char.h"

extern ringbuf_t stdin_ringbuf; // of the port

static bool taken_from_input(int char_sought) {
    bool found = false;
    mp_uint_t state = MICROPY_BEGIN_ATOMIC_SECTION();
    for (size_t left = ringbuf_avail(&stdin_ringbuf); left > 0; left--) {
        int octet = ringbuf_get(&stdin_ringbuf);
        if (octet == char_sought) {
            found = true;
        } else {
            ringbuf_put(&stdin_ringbuf, octet);
        }
    }
    MICROPY_END_ATOMIC_SECTION(state);
    return found;
}

static mp_obj_t ctrl_c_set_interrupt_char(mp_obj_t char_in) {
    int before = mp_interrupt_char;
    int char_new = mp_obj_get_int(char_in);
    mp_hal_set_interrupt_char(char_new);
    if (before == -1 && char_new != -1 && taken_from_input(char_new)) {
        mp_sched_keyboard_interrupt();
    }
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

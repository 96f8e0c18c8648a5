// The module `virt`: what the ESP32-C3's port does with interrupts, for QEMU's "virt" machine.
//
// A timer interrupt every millisecond
//   * takes characters from the UART into a ring, and Ctrl-C out of it (KeyboardInterrupt),
//   * schedules the callback given to virt.background(), as machine.Timer would.
// While the REPL waits for a character, scheduled callbacks run and the core sleeps (wfi). A
// frozen main.py runs at power-on and after a soft reset, but not after one by a raw REPL.
//
//   virt.background(callback or None, every_ms)
//   virt.sleep()              until the next interrupt, then runs what was scheduled
//   virt.ticks_ms(), ticks_us()   of the CLINT's 10 MHz counter, modulo 2**30
//   virt.instructions()       that the core has retired (exact with -icount shift=0), modulo 2**30

#include "py/mphal.h"
#include "py/ringbuf.h"
#include "py/runtime.h"
#include "py/stackctrl.h"
#include "shared/runtime/interrupt_char.h"
#include "shared/runtime/pyexec.h"

#define TICKS_MASK (0x3fffffff)
#define MTIME_PER_US (10)
#define MTIME_PER_TICK (10000)
#define MIP_MTIP (1 << 7)
#define CAUSE_TIMER (0x80000007)
#define LSR_DATA_READY (1)
#define STACK_LIMIT (15 * 1024) // as the ESP32 port's main task: 16 KiB less a margin of 1 KiB

#define MTIME ((volatile uint32_t *)0x0200bff8)
#define MTIMECMP ((volatile uint32_t *)0x02004000)
#define UART_DATA (*(volatile uint8_t *)0x10000000)
#define UART_LSR (*(volatile uint8_t *)0x10000005)

static uint8_t input[512];
ringbuf_t stdin_ringbuf = {input, sizeof(input), 0, 0}; // the name that boards/ctrl_c knows
static uint32_t port_vector;
static uint16_t every_ticks = 1, ticks_left = 1;
static volatile bool scheduled;
static bool main_is_due;

static uint64_t mtime(void) {
    uint32_t high, low;
    do {
        high = MTIME[1];
        low = MTIME[0];
    } while (high != MTIME[1]);
    return (uint64_t)high << 32 | low;
}

static void set_alarm(uint64_t at) {
    MTIMECMP[1] = 0xffffffff;
    MTIMECMP[0] = (uint32_t)at;
    MTIMECMP[1] = (uint32_t)(at >> 32);
}

static void take_input(void) {
    while (UART_LSR & LSR_DATA_READY && ringbuf_free(&stdin_ringbuf)) { // QEMU keeps the rest
        uint8_t octet = UART_DATA;
        if (octet == mp_interrupt_char) {
            mp_sched_keyboard_interrupt();
        } else {
            ringbuf_put(&stdin_ringbuf, octet);
        }
    }
}

static mp_obj_t run_background(mp_obj_t unused) {
    (void)unused;
    scheduled = false;
    if (MP_STATE_VM(virt_background) != mp_const_none) {
        mp_call_function_0(MP_STATE_VM(virt_background));
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(run_background_obj, run_background);

static void tick(void) {
    set_alarm(mtime() + MTIME_PER_TICK);
    take_input();
    if (MP_STATE_VM(virt_background) != mp_const_none && --ticks_left == 0) {
        ticks_left = every_ticks;
        if (!scheduled) {
            scheduled = mp_sched_schedule(MP_OBJ_FROM_PTR(&run_background_obj), mp_const_none);
        }
    }
}

// Anything but the timer goes back to the port's own table, which says what happened.
__attribute__((interrupt("machine"), aligned(4))) static void trap(void) {
    uint32_t cause;
    __asm volatile ("csrr %0, mcause" : "=r" (cause));
    if (cause == CAUSE_TIMER) {
        tick();
    } else {
        __asm volatile ("csrw mtvec, %0" : : "r" (port_vector));
    }
}

static void start_ticks(void) {
    if (port_vector == 0) {
        __asm volatile ("csrr %0, mtvec" : "=r" (port_vector));
        __asm volatile ("csrw mtvec, %0" : : "r" (trap));
        set_alarm(mtime() + MTIME_PER_TICK);
        __asm volatile ("csrs mie, %0" : : "r" (MIP_MTIP));
        virt_restore_interrupts(8);
    }
}

static void sleep_until_interrupt(void) {
    mp_handle_pending(true);
    __asm volatile ("wfi");
    mp_handle_pending(true);
}

// --- between the port and the interpreter ---

void __real_mp_init(void);
void __wrap_mp_init(void) {
    unsigned long state = MICROPY_BEGIN_ATOMIC_SECTION();
    __real_mp_init();
    MP_STATE_VM(virt_background) = mp_const_none;
    scheduled = false;
    main_is_due = true;
    MICROPY_END_ATOMIC_SECTION(state);
    mp_stack_set_limit(STACK_LIMIT);
    mp_hal_set_interrupt_char(-1);
    start_ticks();
}

int __wrap_mp_hal_stdin_rx_chr(void) {
    for (;;) {
        unsigned long state = MICROPY_BEGIN_ATOMIC_SECTION();
        take_input();
        int octet = ringbuf_get(&stdin_ringbuf);
        MICROPY_END_ATOMIC_SECTION(state);
        if (octet >= 0) {
            return octet;
        }
        sleep_until_interrupt();
    }
}

int __real_pyexec_raw_repl(void);
int __wrap_pyexec_raw_repl(void) {
    main_is_due = false;
    return __real_pyexec_raw_repl();
}

int __real_pyexec_friendly_repl(void);
int __wrap_pyexec_friendly_repl(void) {
    if (main_is_due) {
        main_is_due = false;
        pyexec_frozen_module("main.py", true);
    }
    return __real_pyexec_friendly_repl();
}

// --- the module ---

static mp_obj_t virt_background(size_t n_args, const mp_obj_t *args) {
    unsigned long state = MICROPY_BEGIN_ATOMIC_SECTION();
    MP_STATE_VM(virt_background) = args[0];
    every_ticks = n_args > 1 ? mp_obj_get_int(args[1]) : 1;
    ticks_left = every_ticks = every_ticks ? every_ticks : 1;
    MICROPY_END_ATOMIC_SECTION(state);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(virt_background_obj, 1, 2, virt_background);

static mp_obj_t virt_sleep(void) {
    sleep_until_interrupt();
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_0(virt_sleep_obj, virt_sleep);

static mp_obj_t virt_ticks_ms(void) {
    return MP_OBJ_NEW_SMALL_INT(mtime() / (1000 * MTIME_PER_US) & TICKS_MASK);
}
static MP_DEFINE_CONST_FUN_OBJ_0(virt_ticks_ms_obj, virt_ticks_ms);

static mp_obj_t virt_ticks_us(void) {
    return MP_OBJ_NEW_SMALL_INT(mtime() / MTIME_PER_US & TICKS_MASK);
}
static MP_DEFINE_CONST_FUN_OBJ_0(virt_ticks_us_obj, virt_ticks_us);

static mp_obj_t virt_instructions(void) {
    uint32_t count;
    __asm volatile ("csrr %0, minstret" : "=r" (count));
    return MP_OBJ_NEW_SMALL_INT(count & TICKS_MASK);
}
static MP_DEFINE_CONST_FUN_OBJ_0(virt_instructions_obj, virt_instructions);

static const mp_rom_map_elem_t virt_globals_table[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_virt) },
    { MP_ROM_QSTR(MP_QSTR_background), MP_ROM_PTR(&virt_background_obj) },
    { MP_ROM_QSTR(MP_QSTR_sleep), MP_ROM_PTR(&virt_sleep_obj) },
    { MP_ROM_QSTR(MP_QSTR_ticks_ms), MP_ROM_PTR(&virt_ticks_ms_obj) },
    { MP_ROM_QSTR(MP_QSTR_ticks_us), MP_ROM_PTR(&virt_ticks_us_obj) },
    { MP_ROM_QSTR(MP_QSTR_instructions), MP_ROM_PTR(&virt_instructions_obj) },
};
static MP_DEFINE_CONST_DICT(virt_globals, virt_globals_table);

const mp_obj_module_t virt_module = {
    .base = { &mp_type_module },
    .globals = (mp_obj_dict_t *)&virt_globals,
};

MP_REGISTER_MODULE(MP_QSTR_virt, virt_module);
MP_REGISTER_ROOT_POINTER(mp_obj_t virt_background);

// Included before every file of the port: what its configuration does not offer as an option.

#ifndef TINYBFT_VIRT_PORT_H
#define TINYBFT_VIRT_PORT_H

#ifndef __ASSEMBLER__

// The timer interrupt schedules callbacks, so the scheduler's queue needs real atomic sections.
static inline unsigned long virt_disable_interrupts(void) {
    unsigned long status;
    __asm volatile ("csrrci %0, mstatus, 8" : "=r" (status) : : "memory");
    return status & 8;
}

static inline void virt_restore_interrupts(unsigned long state) {
    __asm volatile ("csrs mstatus, %0" : : "r" (state) : "memory");
}

#define MICROPY_BEGIN_ATOMIC_SECTION() virt_disable_interrupts()
#define MICROPY_END_ATOMIC_SECTION(state) virt_restore_interrupts(state)

#endif
#endif

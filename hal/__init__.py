"""The impure half behind one small contract: radio, clock, store, crypto, entropy.

A platform file (`hal.unix`, ...) makes an object with these methods; the core sees no other
outside world. "Allocates nothing" means on MicroPython, after construction.

    now_ms() -> int            milliseconds since anything, modulo 2**30; allocates nothing
    cycles() -> int            fine-grained counter (us on unix), modulo 2**30; allocates nothing
    receive_into(buf) -> int   copies ONE whole message into buf (>= MESSAGE_LENGTH_MAX bytes) and
                               returns its length; 0 = none now. Never blocks, looks at a bounded
                               number of frames, never raises on what the air brought; allocates
                               nothing
    send(target, buf, length)  sends buf[0:length], length 1..MESSAGE_LENGTH_MAX, to the node id
                               `target` or to BROADCAST (everybody but the sender). True = given
                               to the radio; False = counted under faults. Delivery is not
                               promised, nor order, nor that a message comes once; allocates
                               nothing unless the operating system refuses (OSError)
    wait(ms)                   sleeps until something may be receivable or ms have passed; 0
                               returns at once; may wake early; allocates nothing
    await wait_async(ms)       the same inside asyncio; may allocate
    entropy(buf)               fills buf with random bytes; may allocate (boot time only)
    store                      non-volatile memory of `size` bytes: read_into(address, buf, length)
                               fills buf[0:length], write(address, buf, length) returns when
                               buf[0:length] is there to stay. Bytes go out one by one in the
                               order of addresses: a power cut leaves the first of them, the
                               byte under way is undefined. Allocates nothing; None where none
                               is configured
    crypto                     see hal.crypto: only its digest_into allocates
    faults                     see hal.faults: one counter per named fault
    close()                    gives sockets and files back

A board (hal.esp32c3, hal.virt) has besides
    background(callback)       from now on calls callback() soon after a frame came, and every few
                               milliseconds, from MicroPython's scheduler; None ends it
    watchdog()                 feeds the watchdog, if one is configured

Own mistakes of the caller (a message too long, an address outside of the store) are a
ValueError; what comes from outside is never an exception but a counter.
"""

BROADCAST = -1


class HalError(Exception):
    """The platform refuses; the text says what to change."""

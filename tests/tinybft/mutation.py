"""Structure-aware damage to frames: each mutator takes (random, frame, scene), gives bytes.

`random` is a Jitter: the same seed gives the same damage on both interpreters.
"""

from tinybft.octets import get_u16, get_u32, put_u16, put_u32


def any_frame(random, scene):
    """A frame of some type; all types are as likely, and the first (in flight) of each more."""
    kinds = sorted(scene.frames)
    same_type = scene.frames[kinds[random.below(len(kinds))]]
    count = len(same_type)
    return same_type[min(random.below(count), random.below(count), random.below(count))]


def flip_bits(random, frame, _scene):
    out = bytearray(frame)
    for _ in range(1 + random.below(3)):
        out[random.below(len(out))] ^= 1 << random.below(8)
    return out


def truncate(random, frame, _scene):
    return bytearray(frame[: random.below(len(frame))])


def truncate_consistently(random, frame, _scene):
    """Shorter, and the header says so."""
    out = bytearray(frame[: 8 + random.below(len(frame) - 8)])
    put_u16(out, 6, len(out))
    return out


def extend(random, frame, scene):
    room = len(scene.node.memory.received) - len(frame)
    tail = random.below(40 if random.below(4) else max(1, room))
    out = bytearray(frame) + bytearray(random.below(256) for _ in range(min(tail, room)))
    if random.below(2):
        put_u16(out, 6, len(out))
    return out


def edit_number(random, frame, scene):
    """View, seqno or any u32 of the body: one more, one less, or an edge."""
    out = bytearray(frame)
    at = (8, 12, 12)[random.below(3)]
    if random.below(3) == 0 and len(out) >= 24:
        at = 16 + random.below(min(48, len(out) - 19))
    if random.below(2):
        value = get_u32(out, at) + (1 if random.below(2) else -1)
    else:
        value = scene.numbers[random.below(len(scene.numbers))]
    put_u32(out, at, value & 0xFFFFFFFF)
    return out


def edit_header(random, frame, _scene):
    """Version, flags, type, sender, group or length."""
    out = bytearray(frame)
    field = random.below(6)
    if field == 0:
        out[0] = random.below(256)
    elif field == 1:
        out[0] = out[0] & 0xF0 | random.below(16)
    elif field == 2:
        out[1] = random.below(16)
    elif field == 3:
        put_u16(out, 2, random.below(8) if random.below(4) else random.below(65536))
    elif field == 4:
        put_u16(out, 4, random.below(4) if random.below(2) else random.below(65536))
    else:
        put_u16(out, 6, (get_u16(out, 6) + random.below(17) - 8) & 0xFFFF)
    return out


def edit_counts(random, frame, _scene):
    """The bytes where bodies carry counts, levels, indices and lengths."""
    out = bytearray(frame)
    at = 16 + random.below(max(1, min(32, len(out) - 16)))
    if at < len(out):
        out[at] = (0, 1, 2, 5, 16, 127, 128, 255)[random.below(8)]
    return out


def splice(random, frame, scene):
    """Head of one message, tail of another."""
    other = any_frame(random, scene)
    out = bytearray(frame[: random.below(len(frame))]) + bytearray(
        other[random.below(len(other)) :]
    )
    out = out[: len(scene.node.memory.received)]
    if random.below(2) and len(out) >= 8:
        put_u16(out, 6, len(out))
    return out


def swap_body(random, frame, scene):
    """The header of one message on the rest of another of its type."""
    same_type = scene.frames[frame[1]]
    other = same_type[random.below(len(same_type))]
    out = bytearray(frame[:16]) + bytearray(other[16:])
    put_u16(out, 6, len(out))
    return out


def spoof(random, frame, _scene):
    """The same message in the name of somebody else."""
    out = bytearray(frame)
    put_u16(out, 2, (get_u16(out, 2) + 1 + random.below(4)) % 5)
    return out


def zero_tags(_random, frame, _scene):
    out = bytearray(frame)
    for at in range(max(0, len(out) - 24), len(out)):
        out[at] = 0
    return out


def noise(random, _frame, scene):
    length = random.below(len(scene.node.memory.received) + 1)
    if random.below(2):
        length = random.below(120)
    return bytearray(random.below(256) for _ in range(length))


def noise_behind_header(random, frame, _scene):
    """A credible header with random bytes of the right number behind it."""
    out = bytearray(frame)
    for at in range(16, len(out)):
        out[at] = random.below(256)
    return out


MUTATORS = (
    flip_bits,
    truncate,
    truncate_consistently,
    extend,
    edit_number,
    edit_number,
    edit_header,
    edit_counts,
    splice,
    swap_body,
    spoof,
    zero_tags,
    noise,
    noise_behind_header,
)


def mutate(random, frame, scene):
    """One mutation, sometimes a few on top of each other."""
    out = MUTATORS[random.below(len(MUTATORS))](random, frame, scene)
    while random.below(4) == 0 and len(out) >= 24 and out[1] in scene.frames:
        out = MUTATORS[random.below(len(MUTATORS))](random, out, scene)
    return out

"""Reads a key-value store from its bytes alone, after the table in `kv_cells`."""

CELL = 64


def u16(octets, at):
    return octets[at] | octets[at + 1] << 8


def records_of(view, cells):
    """{key: value}; asserts that each cell is in exactly one chain or in the free list."""
    octets = bytes(view)
    bucket_area = (cells.bucket_count * 2 + CELL - 1) // CELL * CELL
    base = 64 + bucket_area - CELL
    seen = set()

    def chain(cell):
        numbers = []
        while cell:
            assert 1 <= cell <= cells.cell_count and cell not in seen
            seen.add(cell)
            numbers.append(cell)
            cell = u16(octets, base + cell * CELL) & 0x7FFF
        return numbers

    free = chain(u16(octets, 0))
    assert len(free) == u16(octets, 2)
    assert all(u16(octets, base + cell * CELL) < 0x8000 for cell in free)
    records = {}
    for bucket in range(cells.bucket_count):
        head = u16(octets, 64 + bucket * 2)
        while head:
            at = base + head * CELL
            assert octets[at + 1] & 0x80, "a head is marked"
            numbers = chain(head)
            assert not any(octets[base + cell * CELL + 1] & 0x80 for cell in numbers[1:])
            payload = octets[at + 8 : at + CELL]
            for cell in numbers[1:]:
                payload += octets[base + cell * CELL + 2 : base + cell * CELL + CELL]
            key_length, value_length = octets[at + 6], u16(octets, at + 4)
            assert 1 <= key_length <= 64
            spare = len(payload) - key_length - value_length
            assert spare >= 0 and (spare < 62 or len(numbers) == 1)
            key = payload[:key_length]
            assert key not in records
            records[key] = payload[key_length : key_length + value_length]
            head = u16(octets, at + 2)
    assert len(seen) == cells.cell_count
    assert len(records) == u16(octets, 4)
    return records

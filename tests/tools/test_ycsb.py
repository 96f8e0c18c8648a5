"""`tinybft ycsb`: the distribution, the records, what clients know of them, tiny runs."""

import json
import random
from collections import Counter

import pytest

from tests.tools.support import run
from tinybft.service import Context
from tools.config import named_files
from tools.simulate.closed_loop import Mismatch
from tools.ycsb import records
from tools.ycsb.command import Cell
from tools.ycsb.on_cluster import is_one_of
from tools.ycsb.on_radio import Traces, run_on_radio
from tools.ycsb.trace import (
    ITEM_COUNT,
    READ,
    THETA,
    UPDATE,
    ZETA_N,
    Zipfian,
    entries,
    fnv1a_64,
    record_of,
    trace,
)

RECORDS = 60


@pytest.mark.parametrize(
    "octets, expected",
    [
        (b"", 0xCBF29CE484222325),
        (b"a", 0xAF63DC4C8601EC8C),
        (b"foobar", 0x85944171F73967E8),
    ],
)
def test_fnv1a_of_known_values(octets, expected):
    """The test vectors of draft-eastlake-fnv."""
    assert fnv1a_64(octets) == expected


def test_a_record_is_the_hash_of_eight_bytes_modulo_the_count():
    assert record_of(1, 60) == fnv1a_64(b"\1\0\0\0\0\0\0\0") % 60


def test_zeta_is_the_sum_over_all_items():
    """The first million terms, and Euler and Maclaurin's formula for the rest."""
    first = 10**6

    def integral(x):
        return x ** (1 - THETA) / (1 - THETA)

    total = sum(i**-THETA for i in range(1, first))
    total += integral(ITEM_COUNT) - integral(first)
    total += (first**-THETA + ITEM_COUNT**-THETA) / 2
    assert total == pytest.approx(ZETA_N, abs=1e-7)


def test_popular_ranks_come_as_often_as_the_distribution_says():
    zipfian, count = Zipfian(random.Random(1)), 100000
    found = Counter(zipfian.next() for _ in range(count))
    for rank in (0, 1):
        expected = (rank + 1) ** -THETA / ZETA_N
        assert found[rank] / count == pytest.approx(expected, rel=0.05)
    assert 0 <= min(found) and max(found) < ITEM_COUNT
    # Half of all draws are among the first 10^10 * this share of the ranks (by the integral).
    low = sum(number for rank, number in found.items() if rank < 10**5)
    expected = (sum(i**-THETA for i in range(1, 10**5 + 1))) / ZETA_N
    assert low / count == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("workload, share", [("a", 0.5), ("b", 0.95), ("c", 1.0)])
def test_a_trace_has_its_share_of_reads(workload, share):
    kinds = Counter(kind for kind, _ in entries(trace(workload, 1, 20000, RECORDS)))
    assert kinds[READ] / 20000 == pytest.approx(share, abs=0.01)
    assert set(kinds) <= {READ, UPDATE}


def test_a_trace_touches_all_records_and_few_of_them_most():
    found = Counter(record for _, record in entries(trace("a", 0, 20000, RECORDS)))
    assert set(found) == set(range(RECORDS))
    assert sum(number for _, number in found.most_common(6)) > 0.15 * 20000


def test_a_trace_is_a_function_of_its_arguments():
    assert trace("a", 1, 100, RECORDS, 7) == trace("a", 1, 100, RECORDS, 7)
    others = {trace("a", 1, 100, RECORDS, 8), trace("a", 2, 100, RECORDS, 7)}
    assert trace("a", 1, 100, RECORDS, 7) not in others


# --- records ---


class State:
    """The application's part of a state, as far as Records uses it."""

    def __init__(self, length):
        self.length = length
        self.octets = bytearray(length)

    def read(self, offset, out, at, length):
        out[at : at + length] = self.octets[offset : offset + length]

    def write(self, offset, buf, start, length):
        self.octets[offset : offset + length] = buf[start : start + length]


class Group:
    """A correct group of one: `ask` is what the replicated service answers."""

    def __init__(self, count=RECORDS):
        self.state = State(count * records.RECORD_LENGTH)
        self.service = records.Records()
        self.service.setup(self.state)
        self.context = Context()

    def ask(self, operation, read_only=False):
        self.context.read_only = read_only
        reply = bytearray(b"\xa5" * 300)
        length = self.service.execute(self.state, operation, len(operation), reply, self.context)
        return bytes(reply[:length])

    def write(self, record, client, sequence):
        buf = bytearray(300)
        return self.ask(bytes(buf[: records.encode_write(buf, record, client, sequence)]))

    def read(self, record):
        buf = bytearray(3)
        return self.ask(bytes(buf[: records.encode_read(buf, record)]))


def loaded():
    group = Group()
    for record in range(RECORDS):
        assert group.write(record, 4, 1) == b"\0"
    return group


def test_a_record_has_256_bytes_and_fields_that_differ():
    buf = bytearray(b"\xa5" * 300)
    assert records.encode_write(buf, 5, 2, 9) == 3 + 256
    first = records.HEADER_LENGTH + 3
    fields = [bytes(buf[first + 31 * i : first + 31 * i + 31]) for i in range(8)]
    assert len(set(fields)) == 8 and buf[3 + 256 :] == b"\xa5" * (300 - 259)


def test_what_was_written_is_read():
    group = loaded()
    reply = group.read(7)
    assert len(reply) == 257 and is_one_of(reply, 7, {(4, 1)})
    assert not is_one_of(reply, 7, {(4, 2)}) and not is_one_of(reply, 8, {(4, 1)})


@pytest.mark.parametrize(
    "operation",
    [b"", b"\1", b"\1\0", b"\1\0\0\0", b"\1\x3c\0", b"\2\0\0", b"\3\0\0", b"\2\0\0" + bytes(255)],
)
def test_malformed_operations_are_answered(operation):
    assert Group().ask(operation) == b"\1"


def test_a_read_only_request_writes_nothing():
    group = loaded()
    before = bytes(group.state.octets)
    buf = bytearray(300)
    length = records.encode_write(buf, 1, 2, 3)
    assert group.ask(bytes(buf[:length]), read_only=True) == b"\1"
    assert group.state.octets == before


def test_books_accept_a_correct_store():
    group = loaded()
    octets = trace("a", 1, 300, RECORDS)
    commands = records.Commands(octets, records.Books(1, RECORDS, 5))
    buf = memoryview(bytearray(300))
    kinds = []
    while length := commands.next_into(buf):
        if len(kinds) % 7 == 0 and commands.begins:
            group.write(len(kinds) % RECORDS, 2, 1 + len(kinds))
        reply = group.ask(bytes(buf[:length]))
        kinds.append(commands.accept(reply, len(reply)))
    assert commands.mismatch == "" and commands.mismatched == 0
    assert [kind for kind in kinds if kind] == [kind for kind, _ in entries(octets)]
    assert kinds.count(0) == sum(kind == UPDATE for kind, _ in entries(octets))


def test_books_find_what_a_correct_store_never_says():
    group = loaded()
    books = records.Books(1, RECORDS, 5)
    assert books.judge(3, group.read(3), 257) == ""
    group.write(3, 2, 5)
    newer = group.read(3)
    assert books.judge(3, newer, 257) == ""
    group.write(3, 2, 4)
    assert books.judge(3, group.read(3), 257) == "write 4 of client 2, not 5"
    assert books.judge(4, newer, 257) == "torn, or another record"
    assert books.judge(3, newer[:200] + b"\0" + newer[201:], 257) == "torn, or another record"
    assert books.judge(3, b"\1", 1) == "status 1, 1 bytes"
    group.write(3, 1, 1)
    assert books.judge(3, group.read(3), 257) == "write 1 of client 1, not 0"
    books.sequence = 1
    books.written(3)
    assert books.judge(3, group.read(3), 257) == "" and books.own(3) == 1


# --- runs ---


def cell(**changed):
    chosen = {"workload": "a", "clients": 2, "rate": 6, "operations": 16, "records": 8, "seed": 1}
    path = str(named_files()["c3"])
    return Cell(path=path, read_only=False, **(chosen | changed))


def test_a_run_on_the_radio_is_a_function_of_its_seed():
    row = run_on_radio(cell())
    assert row["ok"] and row["operations"] == 16 and row == run_on_radio(cell())
    reads, updates = row["ms"]["read"], row["ms"]["update"]
    assert reads["count"] + updates["count"] == 16
    assert row["ms"]["read command"]["count"] == 16
    assert updates["mean"] > reads["mean"]
    assert row != run_on_radio(cell(seed=2))


def test_a_wrong_reply_ends_a_run():
    work = Traces({1: trace("c", 1, 5, RECORDS)}, RECORDS, 5)
    operation, _ = work.next(1)
    with pytest.raises(Mismatch, match=r"client 1: record \d+: status 1, 1 bytes"):
        work.accept(1, operation, b"\1")


def test_the_command_writes_a_document_that_says_what_it_is_of(tmp_path):
    result = run(
        *("ycsb", "--on", "radio", "--workloads", "b", "--clients", "1", "--rates", "24"),
        *("--operations", "8", "--records", "8", "--no-plots", "--output", tmp_path, "--json"),
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said == [json.loads((tmp_path / "ycsb-radio.json").read_text(encoding="utf-8"))]
    row = said[0]["figures"]["rows"][0]
    assert (row["workload"], row["rate"], row["operations"]) == ("b", 24, 8)
    assert said[0]["configuration"]["name"] == "c3"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--workloads", "d"), "'d': choose among a, b, c"),
        (("--records", "65"), "--records 65: state_length = 16384 has room for 64 records"),
        (("--clients", "5"), "--clients 5: must lie in 1..4"),
        (("--rates", "3"), "'3': is no rate of ESP-NOW"),
        (("--name", "smallest"), "state_length = 64 has room for 0 records"),
    ],
)
def test_bad_input_is_refused(tmp_path, arguments, words):
    result = run("ycsb", "--on", "radio", "--no-plots", "--output", tmp_path, *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())


def test_a_run_on_real_processes(tmp_path):
    result = run(
        *("ycsb", "--on", "cluster", "--workloads", "a", "--clients", "2", "--runs", "1"),
        *("--operations", "60", "--plain", "--no-plots", "--output", tmp_path, "--json"),
        *("--run-dir", tmp_path / "run"),
    )
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)[0]["figures"]
    assert figures["ok"] and figures["rows"][0]["ms"]["update"]["p50"]["median"] > 0

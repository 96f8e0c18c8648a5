"""The protocol is the same wherever its regions lie: in RAM, mirrored, or in the store alone."""

from tests.tinybft.bench import Ledger, make_config
from tests.tinybft.group import Group, RamStore
from tests.tinybft.modes import MIRROR, MIXED, NVM, RAM, run_tests
from tests.tinybft.oracle import Workload, check_converged
from tinybft.memory import Memory, region_rows, window_length
from tinybft.octets import get_u32
from tinybft.replica import Replica
from tinybft.request_ids import StoreError

_SMALL = ("SMALL", {"MESSAGE_LENGTH_MAX": 512})
_SEVEN = (
    "SEVEN",
    {"FAULT_COUNT": 2, "CLIENT_COUNT": 8, "MESSAGE_LENGTH_MAX": 1024, "INLINE_LENGTH_MAX": 96},
)


def history(mode):
    """What a group does under loss: (bytes sent per type, states, time, counts of the stores)."""
    config = make_config(MESSAGE_LENGTH_MAX=512, **mode)
    group = Group(config, Ledger, seed=3, loss=20, duplicate=20, delay_ms=(1, 10))
    workload = Workload(group, (0, 3, 4), 20, reply_length=200, lengths=(4, 150, 256))
    assert group.run(120000, workload.step)
    workload.check()
    check_converged(group)
    states = [r.core.state.content(r.core.state.length) for r in group.replicas()]
    return group.sent, states, group.now, [node.hal.store.counts for node in group.nodes[:4]]


def test_history_is_the_same_in_every_mode():
    expected = history(RAM)[:3]
    for mode in (MIRROR, NVM) + MIXED:
        assert history(mode)[:3] == expected, mode


def test_nothing_is_read_from_the_mirror():
    """Its bytes are for the next boot: two dozen records, read once."""
    for mode in (MIRROR, dict(MIRROR, STORAGE_STATE="ram")):
        for counts in history(mode)[3]:
            assert counts[0] < 40 < counts[2], counts


def test_scenarios_of_groups():
    run_tests("tests.tinybft.test_group", NVM, remade=(_SMALL, _SEVEN))


def test_rules_of_the_normal_case():
    for name in ("pre_prepare", "votes", "bodies", "requests", "primary", "execution"):
        run_tests("tests.tinybft.test_rules_" + name, NVM)


def test_rules_of_repair_and_checkpoints():
    for name in ("repair", "checkpoint", "client", "timers"):
        run_tests("tests.tinybft.test_rules_" + name, NVM)


def test_rules_of_view_changes():
    for name in ("view_change", "new_view", "new_view_backup", "acks", "view_repair"):
        run_tests("tests.tinybft.test_rules_" + name, NVM)


# --- memory ---


def test_regions_in_the_store_take_no_ram_but_a_window():
    config = make_config(**NVM)
    names = [row[1] for row in region_rows(config)]
    for bulk in ("bodies", "request", "reply", "blocks", "pool"):
        assert names.count(bulk) == (1 if bulk == "request" else 0), bulk  # the own client's
        assert bulk in [row[1] for row in region_rows(make_config())]
    assert window_length(config) == config.BLOCK_LENGTH + 8
    assert window_length(make_config(**MIXED[0])) == 256
    assert window_length(make_config(**MIRROR)) == window_length(make_config()) == 0


def test_rows_are_what_is_allocated():
    for mode in (RAM, MIRROR, NVM) + MIXED:
        config = make_config(**mode)
        totals = {}
        for region, _, length, _, _ in region_rows(config):
            totals[region] = totals.get(region, 0) + length
        assert totals == Memory(config).bytes_reserved(), mode


# --- refusals ---


def made(config, service, store):
    """A replica of these parts, or the error that refuses them."""
    from hal.crypto import Crypto
    from tinybft.auth import Authenticator
    from tinybft.jitter import Jitter

    keys = {peer: bytes(16) for peer in range(1, config.CLIENT_COUNT)}
    auth = Authenticator(config, 0, Crypto(0, keys, config.TAG_LENGTH))
    try:
        return Replica(config, 0, Memory(config), auth, None, service, Jitter(1), store)
    except (StoreError, ValueError) as error:
        return str(error)


def test_a_store_that_is_missing_or_too_small_is_refused():
    config = make_config(**NVM)
    for store in (None, RamStore(1000)):
        assert "bytes of non-volatile memory" in made(config, Ledger(), store)


class Looking(Ledger):
    """Says nothing of how it reads, so it may use `state.view`."""

    name = "looking"
    reads_view = True

    def setup(self, state):
        self.first = get_u32(state.view, 0)


def test_a_service_that_needs_its_state_in_ram_is_refused():
    from tinybft.layout import areas

    config = make_config(**NVM)
    words = made(config, Looking(), RamStore(areas(config)["size"]))
    assert 'service "looking" reads state.view' in words and "reads_view = False" in words
    mirrored = make_config(**MIRROR)
    assert isinstance(made(mirrored, Looking(), RamStore(areas(mirrored)["size"])), Replica)

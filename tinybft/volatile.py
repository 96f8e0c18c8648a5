"""What takes the place of durability.py where all regions are RAM."""


def _nothing(_self, _first=None, _second=None, _third=None):
    """One function in place of many, each of which would take its 16 bytes."""


class Volatile:
    """Nothing survives, nothing is written; what is asked for is not there (None)."""

    abstains = False
    trusted_at_boot = True

    recover = _nothing
    resume = _nothing
    say_batch = _nothing
    has_spoken = _nothing
    store_batch = _nothing
    say_prepared = _nothing
    overrule = _nothing
    note_executed = _nothing
    keep_batch = _nothing
    note_stable = _nothing
    note_installed = _nothing
    leave_view = _nothing
    begin_view = _nothing
    on_status = _nothing
    reload_block = _nothing

    def may_acknowledge(self, _replica, _digest, _digest_at):
        return True

    def report(self):
        return {"mode": "volatile"}

"""What takes the place of durability.py where all regions are RAM."""


class Volatile:
    """Nothing survives, nothing is written."""

    abstains = False
    trusted_at_boot = True

    def recover(self):
        pass

    def resume(self):
        pass

    def say_batch(self, base):
        pass

    def has_spoken(self, base):
        return False

    def store_batch(self, base):
        pass

    def say_prepared(self, base):
        pass

    def overrule(self, base):
        pass

    def note_executed(self, first, last):
        pass

    def keep_batch(self, base):
        pass

    def note_stable(self, seqno):
        pass

    def note_installed(self, low_mark, seqno):
        pass

    def leave_view(self):
        pass

    def begin_view(self):
        pass

    def may_acknowledge(self, replica, digest, digest_at):
        return True

    def on_status(self, sender, low_mark, last_executed):
        pass

    def reload_block(self, block):
        return False

    def report(self):
        return {"mode": "volatile"}

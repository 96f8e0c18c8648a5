"""Request bodies for the batches of the window: hash-based ordering (TOCS 4.4).

A pre-prepare may name a request by its digest; the body comes from the client, or by repair
from any replica that holds it, and proves itself. So does a body whose tag is good here where a
batch was in doubt about it.

Does not allocate.
"""

from tinybft.compat import micropython
from tinybft.slots import ACCEPTED, HAS_BATCH, PRE_PREPARED


class Bodies:
    def __init__(self, core):
        self.core = core
        self.slots = core.slots
        self._digest = None
        self._authentic = False

    @micropython.viper
    def wants_body_of(self, client: int, number) -> bool:
        """True if a batch of the window names request `number` of `client`, and lacks it or
        could not check its tag."""
        return bool(self._is_any_open()) and bool(self._fill(client, number, None))

    @micropython.viper
    def _is_any_open(self) -> bool:
        """False if all batches that are known of are executed: the most common case."""
        core = self.core
        if core.handover.reagreeing:
            return True
        return uint(core.agreement.last_seen) > uint(core.progress.last_executed)

    def on_body(self, buf, client, number, digest, authentic):  # noqa: PLR0913
        """Give the REQUEST in `buf` to the slots that want it. True if it was of use.

        `authentic`: its tag was good here.
        """
        self._digest = digest
        self._authentic = authentic
        return self._fill(client, number, buf)

    @micropython.native
    def _fill(self, client, number, message):
        slots = self.slots
        handover = self.core.handover
        found = False
        first = self.core.progress.last_executed + 1
        if handover.reagreeing:
            first = handover.first_open()
        for seqno in range(first, self._end()):
            base = slots.find(seqno)
            if base < 0 or not slots.has(base, HAS_BATCH):
                continue
            wanted = slots.missing(base)
            if not slots.has(base, ACCEPTED):
                wanted |= slots.doubts(base)
            if wanted and self._fill_slot(base, wanted, client, number, message):
                found = True
        return found

    def _fill_slot(self, base, wanted, client, number, message):
        found = False
        index = 0
        while wanted:
            entry = self.slots.entry_at(base, index)
            if wanted & 1 and self.core.batches.names(entry, client, number):
                if message is None:
                    return True
                if self.core.batches.is_body(entry, message, self._digest):
                    found = self._fill_entry(base, index, message) or found
            wanted >>= 1
            index += 1
        if found:
            self._go_on(base)
        return found

    def _go_on(self, base):
        if self.slots.has(base, PRE_PREPARED):
            self.core.agreement.advance(base)
        if not self.core.progress.active:
            self.core.view_change.settle()  # its primary may have waited for this body

    @micropython.native
    def _fill_entry(self, base, index, message):
        slots = self.slots
        missing = slots.missing(base) >> index & 1
        if missing:
            slots.put_body(base, index, message, 0)
        if self._authentic:
            self.core.batches.trust(base, index)
        return missing or self._authentic

    @micropython.native
    def on_authentic(self, client):
        """The pending request of `client` is new and authentic: batches may wait for it."""
        if not self._is_any_open():
            return
        slots = self.slots
        handover = self.core.handover
        first = self.core.progress.last_executed + 1
        if handover.reagreeing:
            first = handover.first_open()
        for seqno in range(first, self._end()):
            base = slots.find(seqno)
            if base < 0 or not slots.has(base, PRE_PREPARED) or slots.has(base, ACCEPTED):
                continue
            self.core.batches.look_up(base)
            self.core.agreement.advance(base)

    @micropython.native
    def _end(self):
        """Behind the last seqno of which something is known."""
        return min(self.core.agreement.last_seen, self.core.progress.high_mark()) + 1

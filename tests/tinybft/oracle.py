"""What must hold in a group after every step, and a workload that keeps count (FAULTS.md).

workload = Workload(group, clients=(0, 3, 4), each=20)
assert group.run(60000, workload.step)       True once every operation is answered
workload.check()
"""

from tests.tinybft.bench import u16
from tests.tinybft.support import sha256


class Invariants:
    """S1, S3, S6 and S7, of what the replicas hold now and held before."""

    def __init__(self, group):
        self._group = group
        self._of_seqno = {}
        self._of_checkpoint = {}
        self._marks = {}
        self._seen = {}
        self._w = group.config.WINDOW
        self._k = group.config.CHECKPOINT_INTERVAL

    def check(self):
        for replica in self._group.replicas():
            self._check_marks(replica.progress)
            self._check_executed(replica)
            self._check_stable(replica)

    def _check_marks(self, progress):
        low, executed = progress.low_mark, progress.last_executed
        assert low % self._k == 0
        assert low <= executed <= low + self._w
        before = self._marks.get(progress.replica_id, 0)
        assert low >= before, "a window moved back"
        self._marks[progress.replica_id] = low

    def _check_executed(self, replica):
        """One list of operations per seqno, over all replicas, for ever."""
        node = replica.progress.replica_id
        ran = replica.core.execution._service.ran
        for i in range(self._seen.get(node, 0), len(ran)):
            client, operation, seqno = ran[i][:3]
            agreed = self._of_seqno.setdefault((seqno, client), (operation, ran[i][3:]))
            assert agreed == (operation, ran[i][3:]), (node, seqno)
        self._seen[node] = len(ran)

    def _check_stable(self, replica):
        low = replica.progress.low_mark
        root = bytearray(32)
        if replica.core.state.root_into(low, root, 0):
            agreed = self._of_checkpoint.setdefault(low, bytes(root))
            assert agreed == bytes(root), ("checkpoint", low)


class Workload:
    """Clients that each submit `each` operations, one after the other."""

    def __init__(self, group, clients, each, reply_length=4, lengths=(4,)):
        self.group = group
        self.invariants = Invariants(group)
        self.answers = {}  # operation: the count that the client was told
        self._clients = clients
        self._each = each
        self._reply_length = reply_length
        self._lengths = lengths
        self._next = {client: 0 for client in clients}
        self._open = {}

    def _operation(self, client, i):
        head = bytes((self._reply_length, client)) + u16(i)
        return head + bytes(self._lengths[i % len(self._lengths)] - 4)

    def step(self):
        """Take answers, submit what is next. True when everything is answered."""
        self.invariants.check()
        for client in self._clients:
            node = self.group.nodes[client]
            if client in self._open and not node.client.busy:
                reply = bytes(node.client.reply[: node.client.reply_length])
                self.answers[self._open.pop(client)] = reply
            i = self._next[client]
            if not node.client.busy and i < self._each:
                self._open[client] = self._operation(client, i)
                self._next[client] = i + 1
                node.start(self._open[client])
        return len(self.answers) == self._each * len(self._clients)

    def check(self):
        """Exactly once, in the order that the replies say, the same on all replicas."""
        total = self._each * len(self._clients)
        counts = sorted(int.from_bytes(r[:4], "little") for r in self.answers.values())
        assert counts == list(range(1, total + 1)), "an operation ran twice, or never"
        assert all(len(r) == self._reply_length for r in self.answers.values())
        for replica in self.group.replicas():
            ran = [row[1] for row in replica.core.execution._service.ran]
            assert len(ran) == len(set(ran)), "an operation ran twice"
            assert set(ran) <= set(self.answers)


def state_digest(replica):
    """SHA-256 of all replicated bytes, the client table included."""
    core = replica.core
    length = core.config.STATE_LENGTH + core.config.SYSTEM_LENGTH
    return sha256(core.state.content(length))


def check_converged(group):
    """All live replicas reach the same seqno, and then hold the same bytes (S6)."""
    group.settle()
    digests = {state_digest(r) for r in group.replicas()}
    assert len(digests) == 1, "the states differ"

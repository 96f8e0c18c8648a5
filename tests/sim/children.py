"""Forks of a simulation: each goes its own way from here, and says what became of it."""

import gc
import os
import pickle
import selectors


class Children:
    """At most `count` forks (None: one per core) of this process at a time; what each says goes
    to `on_result`."""

    def __init__(self, on_result, count=None):
        self._count = count or os.cpu_count() or 1
        self._on_result = on_result
        self._selector = selectors.DefaultSelector()
        self._said = {}  # descriptor: [process id, bytes]
        gc.collect()
        gc.freeze()  # or the first collection of each child copies every page

    def fork(self):
        """True in the child, which has to call `leave`."""
        while len(self._said) >= self._count:
            self._listen()
        reader, self._writer = os.pipe()
        process_id = os.fork()
        if process_id == 0:
            os.close(reader)
            return True
        os.close(self._writer)
        self._said[reader] = [process_id, b""]
        self._selector.register(reader, selectors.EVENT_READ)
        return False

    def leave(self, result):
        """The child's last word."""
        with os.fdopen(self._writer, "wb") as file:
            pickle.dump(result, file)
        os._exit(0)

    def run(self, action):
        """Call `action()` in a fork; what it returns is the child's last word."""
        if self.fork():
            try:
                result = action()
            except BaseException as error:  # noqa: BLE001 - the parent tells
                result = ["S10", repr(error), ""]
            self.leave(result)

    def wait(self):
        while self._said:
            self._listen()

    def _listen(self):
        for key, _ in self._selector.select():
            octets = os.read(key.fd, 65536)
            if octets:
                self._said[key.fd][1] += octets
                continue
            self._selector.unregister(key.fd)
            os.close(key.fd)
            process_id, said = self._said.pop(key.fd)
            _, status = os.waitpid(process_id, 0)
            if status or not said:
                raise RuntimeError(f"a run ended with status {status} and said nothing")
            self._on_result(pickle.loads(said))

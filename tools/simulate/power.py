"""Power and non-volatile memory of simulated devices: the part of `Sim` that takes them away.

Where the configuration keeps regions in non-volatile memory, a replica that was switched off is
held to all that it said before (oracles S5 and S8), unless its memory cannot be trusted: then it
abstains until it has rejoined. What no replica can notice, an old image put back or a write that
was acknowledged and lost, makes it one of the f faulty ones. Power cuts alone are no reason not to
trust a memory: unless something else was done to it (`tampered`), oracle S8 wants it found whole.
"""

from tinybft.request_ids import StoreError

TORN = ("old", "new", "random")


class Power:
    """Methods of `Sim`."""

    # --- power ---

    def crash(self, i):
        """Power off, now. No effect on a device that is off."""
        hal = self.device(i)
        if hal.up:
            self.log(f"{self.name(i)} loses power")
            hal.power_off()
            self._lose_operations(hal)

    def restart(self, i, wipe=False):
        """Power on (off first, if it is on), with the store as it is, or empty (`wipe`).

        See `wipe` for what becomes of its client.
        """
        self.crash(i)
        if wipe:
            self.wipe(i)
        self.log(f"{self.name(i)} starts")
        self._power_on(self.device(i))

    def outage(self, ids=None):
        """Power off all replicas, or the devices `ids`, at once."""
        for i in self.replicas if ids is None else ids:
            self.crash(i)

    def power_on_all(self, order=None):
        """Power on the replicas that are off, in the order of ids, or `order`."""
        for i in self.replicas if order is None else order:
            if not self.is_up(i):
                self.restart(i)

    def cut_power_after(self, i, bytes_written, torn="random"):
        """Power goes off in the midst of a write: after that many more bytes to the store.

        torn: what the byte under way holds then, its "old" value, its "new" one, or any. The
        cut may strike a start: plan it while the device is off. Switching off ends the plan;
        so does -1 bytes.
        """
        if torn not in TORN:
            raise ValueError(f"torn is {torn!r}, must be one of {', '.join(TORN)}")
        store = self.device(i).store
        store.bytes_left = bytes_written
        store.torn = torn

    def _on_power_cut(self, hal):
        self.log(f"{self.name(hal.number)} loses power while it writes")
        if hal.number < self.replica_count and hal.node:
            self.oracles.cut(hal)
        self._lose_operations(hal)

    def _on_failed(self, hal, error):
        """An exception came out of a step. A store that cannot be trusted keeps its node from
        starting, on purpose; anything else is a violation."""
        if not isinstance(error, StoreError):
            self.oracles.escaped(hal, error)
        self.oracles.refused(hal, error)
        self.log(f"{self.name(hal.number)} does not start: {error}")
        hal.power_off()
        self._lose_operations(hal)

    def _lose_operations(self, hal):
        if hal.number < self.client_count and self._outstanding[hal.number]:
            self._outstanding[hal.number].lost = True
            self._outstanding[hal.number] = None

    # --- non-volatile memory ---

    def corrupt_store(self, i, address, mask):
        """Flip the bits of `mask` in one byte of the store."""
        store = self.device(i).store
        if not 0 <= address < store.size or not 0 <= mask <= 255:
            raise ValueError(f"address {address}, mask {mask}: a store has {store.size} bytes")
        store.octets[address] ^= mask
        self._tamper(i)

    def lose_write(self, i, k=0):
        """The k-th write from now on (0: the next one) to the store is silently not done.

        Its replica is not counted as correct from now on.
        """
        self.log(f"{self.name(i)} will lose a write")
        self.device(i).store.writes_left = k
        self._tamper(i)
        self.faulty.add(self.device(i).node_id)

    def wipe(self, i, value=0):
        """Every byte of the store becomes `value`. The client of the device forgets which
        request ids it has used, and is not counted as correct any more; but that of a replica
        with durable regions waits until it is told."""
        self.log(f"the store of {self.name(i)} is wiped with 0x{value:02x}")
        self.device(i).store.wipe(value)
        self._tamper(i)
        if not (self.config.DURABLE and self.device(i).node_id < self.replica_count):
            self.faulty_clients.add(self.device(i).node_id)

    def swap_stores(self, i, j):
        """Two devices that are off get the memory of each other."""
        self._require_off(i, j)
        self.log(f"{self.name(i)} and {self.name(j)} swap their stores")
        one, other = self.device(i).store, self.device(j).store
        image = one.image()
        one.put_back(other.image())
        other.put_back(image)
        self._tamper(i)
        self._tamper(j)

    def clone_store(self, i):
        """The bytes of the store as they are now, for `put_back`."""
        return self.device(i).store.image()

    def put_back(self, i, image):
        """A device that is off gets an old image of its store, or the image of another one.

        If that changes anything, it is not counted as correct any more.
        """
        self._require_off(i)
        self.log(f"{self.name(i)} gets another image of its store")
        if image != self.clone_store(i):
            self.faulty.add(self.device(i).node_id)
            self._tamper(i)
        self.device(i).store.put_back(image)

    def _tamper(self, i):
        """Until it has rejoined, nobody wonders what the device thinks of its memory."""
        self.tampered[i] = self.device(i).boots

    def _require_off(self, *ids):
        for i in ids:
            if self.is_up(i):
                raise ValueError(f"device {i} is on: crash it first")

    def store_speed(self, us_per_byte=22.5, us_per_transfer=90):
        """From now on transfers with stores take time; what is sent behind one leaves when it
        is done. Default: I2C at 400 kHz, with four bytes of address and command each."""
        for hal in self.world.hals:
            hal.store.us_per_byte = us_per_byte
            hal.store.us_per_transfer = us_per_transfer

    # --- looking ---

    def abstains(self, i):
        """True while a replica that is on does not trust its memory, and does not vote."""
        core = self.core(i)
        return bool(core and self.config.DURABLE and core.durability.abstains)

"""Many external clients in one process, each with an id, keys and a socket of its own.

    python -m tools.bench.crowd PLAN.json

Each client is the library's own (tinybft/client.py), in a closed loop of puts; when the time is
up it reads its key back. They send to the group and do not listen to it: replies come to a
client's own port. So a host does not copy every vote of the replicas once per client.

Words on standard input: `go`. The report file says {"ready"}, at the end {"operations", "busy_us",
"retries", "mismatched", "unanswered"}; the latencies are a histogram as in a replica's.
"""

import json
import os
import select
import socket
import sys
import time
from pathlib import Path

from hal import BROADCAST, HalError
from hal.crypto import Crypto
from hal.datagrams import Datagrams
from hal.faults import Faults
from hal.keys import KeyFileError, load_keys
from hal.messages import Messages
from hal.sim_parts import Store
from hal.udp_sockets import address_of, octets_of, open_unicast, reader_of, unicast_addresses
from hal.unix import now_ms
from tinybft.apps.kv_format import OK, encode_get, encode_put
from tinybft.node import Node
from tinybft.octets import put_u16
from tinybft.request_ids import STORE_LENGTH
from tools.cluster.files import RunFolder
from tools.cluster.latency import Histogram
from tools.cluster.workload import key_name

TICK_SECONDS = 0.01  # how often retries are looked for
REST_SECONDS = 10.0  # for what is outstanding when the time is up, and for reading back


class CrowdAir(Datagrams):
    """The sockets' end of one client; multicast: whether replicas hear the group."""

    def __init__(self, config, node_id, faults, multicast):
        super().__init__(config, faults)
        self.socket = open_unicast(config, node_id)
        self._sendto = self.socket.sendto
        self._read_into = reader_of(self.socket)
        self._replicas = unicast_addresses(config)[: config.REPLICA_COUNT]
        self._everybody = self._replicas
        if multicast:
            interface = octets_of(config.INTERFACE)
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
            self._everybody = [address_of(config.MULTICAST_GROUP, config.PORT)]

    def receive(self):
        try:
            size = self._read_into(self._received)
        except OSError:
            self._faults.receive_error += 1
            return 0
        return 0 if size is None else self._frame_of(size)

    def _refused(self, address, error):
        """Counted already; the client retries."""

    def reaches(self, target):
        return target < len(self._replicas)

    def send(self, target, frame_length):
        put_u16(self._sent, 0, frame_length)
        addresses = self._everybody if target == BROADCAST else [self._replicas[target]]
        return all([self._give(address) for address in addresses])


class CrowdHal(Messages):
    """The part of the contract of `hal` that a client's Node asks for."""

    def __init__(self, config, node_id, crypto, multicast):
        faults = Faults()
        super().__init__(config, node_id, CrowdAir(config, node_id, faults, multicast), faults)
        self.socket = self._air.socket
        self.now_ms = now_ms
        self.crypto = crypto
        # The group is as new as its clients: no request id needs to outlive the run.
        self.store = Store(STORE_LENGTH, node_id)

    def entropy(self, buf):
        buf[:] = os.urandom(len(buf))


class CrowdClient:
    """One client: its loop, and what it knows that the group must hold."""

    def __init__(self, config, node_id, key_path, plan):
        _, keys = load_keys(key_path, config)
        crypto = Crypto(node_id, keys, config.TAG_LENGTH)
        self.hal = CrowdHal(config, node_id, crypto, plan["multicast"])
        self.node = Node(self.hal, config)
        self.operations = 0
        self.mismatched = 0
        self.histogram = Histogram()
        self.busy_until = 0
        self._name = key_name(node_id, plan["size"], 0)
        self._rest = bytes(plan["size"] - 4)
        self._buf = bytearray(config.REQUEST_LENGTH_MAX)
        self._value = b""  # what was acknowledged last
        self._new = b""  # what is outstanding; b"" while the key is read back
        self._started = 0

    def put(self):
        self._new = (self.operations + 1).to_bytes(4, "little") + self._rest
        self._submit(encode_put(self._buf, self._name, self._new))

    def get(self):
        self._new = b""
        self._submit(encode_get(self._buf, self._name))

    def _submit(self, length):
        self._started = time.monotonic_ns()
        self.node.client.submit(self._buf, length, now_ms())

    def take_reply(self):
        """Judge the reply to what was outstanding. Requires: it is there."""
        now = time.monotonic_ns()
        client = self.node.client
        reply = bytes(client.reply[: client.reply_length])
        if not self._new:
            self.mismatched += reply != bytes((OK,)) + self._value
            return
        self.mismatched += reply != bytes((OK,))
        self._value = self._new
        self.operations += 1
        self.histogram.add((now - self._started) // 1000)
        self.busy_until = now


class Crowd:
    """All clients of a plan, and the one loop that serves them."""

    def __init__(self, plan):
        folder = RunFolder(plan["folder"])
        config = folder.config()
        self._plan = plan
        self._clients = {}  # file descriptor: client
        self._poll = select.epoll()
        for node_id in plan["client_ids"]:
            client = CrowdClient(config, node_id, str(folder.key_file(node_id)), plan)
            self._clients[client.hal.socket.fileno()] = client
            self._poll.register(client.hal.socket, select.EPOLLIN)

    def run(self):
        clients = self._clients.values()
        first = time.monotonic_ns()
        end = time.monotonic() + self._plan["seconds"]
        for client in clients:
            client.put()
        self._serve(lambda: time.monotonic() > end, CrowdClient.put)
        self._come_to_rest()
        busy_us = (max(client.busy_until for client in clients) - first) // 1000
        unanswered = [client for client in clients if client.node.client.busy]
        answered = [client for client in clients if client not in unanswered and client.operations]
        for client in answered:
            client.get()
        self._come_to_rest()
        unanswered = [client for client in clients if client.node.client.busy]
        whole = Histogram()
        for client in clients:
            whole.merge(client.histogram.counts)
        Path(self._plan["latency_path"]).write_bytes(whole.counts.tobytes())
        return {
            "operations": sum(client.operations for client in clients),
            "busy_us": busy_us,
            "retries": sum(client.node.client.retries for client in clients),
            "mismatched": sum(client.mismatched for client in clients),
            "unanswered": len(unanswered),
        }

    def _come_to_rest(self):
        """Wait for what is outstanding."""
        end = time.monotonic() + REST_SECONDS
        busy = [client.node.client for client in self._clients.values()]
        self._serve(
            lambda: time.monotonic() > end or not any(client.busy for client in busy), None
        )

    def _serve(self, done, follow):
        """Let the clients work until `done()`; `follow(client)` begins the next operation."""
        ticked = time.monotonic()
        while not done():
            for descriptor, _ in self._poll.poll(TICK_SECONDS):
                client = self._clients[descriptor]
                was_busy = client.node.client.busy
                client.node.step()
                if was_busy and not client.node.client.busy:
                    client.take_reply()
                    if follow:
                        follow(client)
            if time.monotonic() - ticked >= TICK_SECONDS:
                ticked = time.monotonic()
                for client in self._clients.values():
                    client.node.client.tick(now_ms())


def written(path, report):
    Path(path + ".new").write_text(json.dumps(report), encoding="utf-8")
    os.rename(path + ".new", path)


def main(plan_path):
    plan = json.loads(Path(plan_path).read_text(encoding="utf-8"))
    crowd = Crowd(plan)
    written(plan["report_path"], {"ready": True})
    if sys.stdin.readline().strip() == "go":
        written(plan["report_path"], crowd.run())


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (HalError, KeyFileError) as error:
        print("error: " + str(error))
        sys.exit(2)

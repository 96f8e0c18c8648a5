"""Frames over real sockets on loopback: multicast, fan-out, refusals, foreigners."""

import socket

from hal import BROADCAST
from hal.udp_sockets import HalError, address_of
from hal.unix import Hal
from tests.hal.support import config_for_air, counted, message_of, raises, received, with_nodes


def exchange(config, hals):
    """Every node broadcasts and sends to each other one, short and long."""
    for length in (1, 72, 246, 247, 1152):
        for source in hals:
            message = bytes(message_of(length, source.node_id))
            assert source.send(BROADCAST, message, length)
            for hal in hals:
                assert received(hal, 1000 if hal is not source else 0) == (
                    message if hal is not source else None
                )
            for hal in hals:
                if hal is not source:
                    assert source.send(hal.node_id, message, length)
                    assert received(hal) == message
    for hal in hals:
        assert received(hal, 0) is None and counted(hal) == {}


def test_multicast():
    def check(config, hals):
        # A host without multicast falls back, which must work as well.
        assert all(hal.multicast or hal.multicast_reason for hal in hals)
        exchange(config, hals)

    with_nodes(3, check)


def test_fan_out():
    def check(config, hals):
        assert not any(hal.multicast for hal in hals)
        assert hals[0].multicast_reason == "switched off"
        exchange(config, hals)

    with_nodes(3, check, multicast=False)


def test_group_that_is_lost_while_running():
    def check(config, hals):
        air = hals[0]._air
        real = air._sendto

        def refused(datagram, address):
            if address is air._group:
                raise OSError(101, "unreachable")
            return real(datagram, address)

        air._sendto = refused
        assert hals[0].send(BROADCAST, b"abc", 3)
        assert received(hals[1]) == b"abc" and not hals[0].multicast
        assert counted(hals[0]) == ({"send_error": 1} if hals[1].multicast else {})

    with_nodes(2, check)


def test_refused_send_is_counted():
    def check(config, hals):
        def refused(datagram, address):
            raise OSError(105, "no buffers")

        hals[0]._air._sendto = refused
        assert not hals[0].send(1, b"abc", 3) and not hals[0].send(BROADCAST, b"abc", 3)
        assert hals[0].faults.send_error >= 2

    with_nodes(2, check)


def test_targets_that_do_not_exist():
    def check(config, hals):
        for target in (0, 5, 1000, -2):
            assert not hals[0].send(target, b"abc", 3)
        assert counted(hals[0]) == {"send_target": 4}
        assert hals[0].send(4, b"abc", 3)

    with_nodes(1, check)


def test_second_process_with_the_same_id():
    def check(config, hals):
        text = str(raises(HalError, Hal, config, 0))
        assert "port %d is in use: another node 0 runs" % (config.PORT + 1) in text

    with_nodes(1, check)


def test_wrong_transport_values():
    for values, words in (
        ({"INTERFACE": "1.2.3.4"}, "must be an address of this machine"),
        ({"INTERFACE": "localhost"}, "is not an IPv4 address"),
        ({"INTERFACE": "1.2.3.400"}, "is not an IPv4 address"),
        ({"HOSTS": ("127.0.0.1", "x", "127.0.0.1", "127.0.0.1")}, "is not an IPv4 address"),
    ):
        assert words in str(raises(HalError, Hal, config_for_air(**values), 0))
    assert "must be 0..4" in str(raises(HalError, Hal, config_for_air(), 5))


def test_hosts_of_a_lan():
    """External clients have no address of their own there: they hear the group."""
    config = config_for_air(HOSTS=("127.0.0.1",) * 4)
    replica, client = Hal(config, 0), Hal(config, 4)
    try:
        assert client.send(0, b"abc", 3) and received(replica) == b"abc"
        if replica.multicast:
            assert replica.send(4, b"def", 3) and received(client) == b"def"
    finally:
        replica.close()
        client.close()
    replica = Hal(config, 0, multicast=False)
    assert not replica.send(4, b"def", 3) and replica.faults.send_target == 1
    replica.close()


def test_foreign_datagrams_cost_at_most_the_frame_behind_them():
    def check(config, hals):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        address = address_of("127.0.0.1", config.PORT + 1)
        for foreign in (b"", b"x", b"xy", b"x" * 251, b"\xff" * 252, b"x" * 253, b"x" * 1400):
            sock.sendto(foreign, address)
            hals[1].send(0, b"spoilt", 6)
            hals[1].send(0, b"whole 1", 7)
            hals[1].send(0, b"whole 2", 7)
            come = [received(hals[0]) for _ in range(2)]
            if come[0] == b"spoilt":
                come = [come[1], received(hals[0])]
            assert come == [b"whole 1", b"whole 2"], (foreign, come)
        sock.close()
        assert hals[0].faults.datagram_length >= 3

    with_nodes(2, check)


def test_many_messages_on_both_sockets_interleave_without_loss():
    def check(config, hals):
        for i in range(12):
            hals[1].send(0, message_of(1000, i), 1000)
            hals[1].send(BROADCAST, message_of(1000, 100 + i), 1000)
            hals[1].send(0, message_of(50, i), 50)
        come = {received(hals[0]) for _ in range(36)}
        assert len(come) == 36 and None not in come
        assert hals[0].faults.fragment_late == 0

    with_nodes(2, check)

"""The two UDP sockets of a node on a host, and the addresses of all nodes.

    multicast   bound to (MULTICAST_GROUP, PORT), shared by all nodes of a host
    unicast     bound to (own host, PORT + 1 + node_id), not shared: a second process with the
                same node id cannot start. All sending goes through this one.

Own host: HOSTS[node_id] for a replica when hosts are configured, else INTERFACE.
Boot time only: allocates, and says what is wrong as HalError.
"""

import errno
import select
import socket

from hal import HalError

_SOL_SOCKET = 1
_SO_REUSEADDR = 2
_SO_RCVBUF = 8
_IPPROTO_IP = 0
_IP_MULTICAST_IF = 32
_IP_ADD_MEMBERSHIP = 35
# Some hundred frames of all others; the kernel cuts it to what it allows.
_RECEIVE_BUFFER_LENGTH = 1 << 20


def address_of(host, port):
    """What `sendto` takes for an IPv4 address."""
    octets_of(host)
    return socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)[0][-1]


def octets_of(host):
    """The four bytes of a dotted IPv4 address."""
    try:
        octets = bytes(int(part) for part in host.split("."))
    except ValueError:
        octets = b""
    if len(octets) != 4:
        raise HalError("%r is not an IPv4 address; correct [transport] in config.toml" % host)
    return octets


def host_of(config, node_id):
    """The IPv4 address of a node as text; None for an external client on a LAN."""
    if not config.HOSTS:
        return config.INTERFACE
    return config.HOSTS[node_id] if node_id < len(config.HOSTS) else None


def unicast_addresses(config):
    """Per node id the address for `sendto`, None where it is unknown."""
    addresses = []
    for node_id in range(config.CLIENT_COUNT):
        host = host_of(config, node_id)
        addresses.append(None if host is None else address_of(host, config.PORT + 1 + node_id))
    return addresses


def open_unicast(config, node_id):
    host = host_of(config, node_id) or config.INTERFACE
    port = config.PORT + 1 + node_id
    address = address_of(host, port)
    sock = _datagram_socket()
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise HalError(
                "port %d is in use: another node %d runs, or choose another [transport] port"
                % (port, node_id)
            ) from None
        raise HalError(
            "cannot receive at %s port %d (%s): it must be an address of this machine and a "
            "free port; correct [transport] interface, hosts or port" % (host, port, error)
        ) from None
    return sock


def open_multicast(config, node_id, sender):
    """The socket that hears the group; makes `sender` send to it. OSError when not to be had."""
    interface = octets_of(host_of(config, node_id) or config.INTERFACE)
    group = octets_of(config.MULTICAST_GROUP)
    sock = _datagram_socket()
    try:
        sock.setsockopt(_SOL_SOCKET, _SO_REUSEADDR, 1)
        sock.bind(address_of(config.MULTICAST_GROUP, config.PORT))
        sock.setsockopt(_IPPROTO_IP, _IP_ADD_MEMBERSHIP, group + interface)
        sender.setsockopt(_IPPROTO_IP, _IP_MULTICAST_IF, interface)
    except OSError:
        sock.close()
        raise
    return sock


def echoes(sender, address, receiver, probe, within_ms):
    """Whether `probe`, sent to the group, comes back: a host may take it and deliver nothing."""
    sender.sendto(probe, address)
    poll = select.poll()
    poll.register(receiver, select.POLLIN)
    heard = bytearray(len(probe))
    read = reader_of(receiver)
    while poll.poll(within_ms):
        if read(heard) == len(probe) and heard == probe:
            return True
    return False


def reader_of(sock):
    """f(buf) -> bytes of one datagram, None when none waits; allocates nothing."""
    if hasattr(sock, "readinto"):
        return sock.readinto

    def readinto(buf):
        try:
            return sock.recv_into(buf)
        except BlockingIOError:
            return None

    return readinto


def _datagram_socket():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.setsockopt(_SOL_SOCKET, _SO_RCVBUF, _RECEIVE_BUFFER_LENGTH)
    return sock

"""Whose program is at the other end of a connection from this machine: Linux is asked for it, or lists it in /proc/net/tcp."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from pathlib import Path

UNLISTED = -1
"""No user: the system lists connections, and not this one, or no program holds its other end any more."""
_LISTS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_USER, _INODE = 7, 9
"""The places of the user's number and of the socket's in a line; a socket that no program holds has neither, but zeros."""
_LOOKS = 3
"""The list is not read in one moment: while others connect, a connection may be missing from it once."""
_DIAGNOSIS, _BY_FAMILY, _REQUEST = 4, 20, 1  # NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST
_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port."""
_ASKED, _ENDS = struct.Struct("=BBxxI"), struct.Struct("!HH16s16s")
"""struct inet_diag_req_v2: family, protocol, states; then inet_diag_sockid: ports, addresses, an interface, a cookie."""
_ANY_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
_TOLD = struct.Struct("=II")
_TOLD_AT = _HEADER.size + 4 + 48 + 12
"""User and inode in the answer, behind struct inet_diag_msg's state, its ends, and three queues."""
_WAIT_S = 0.1  # the kernel answers before sendto returns


def user_of(client: tuple[str, int] | None, server: tuple[str, int | None] | None) -> int | None:
    """The number of the user whose program holds the client's end of a TCP connection between two addresses of this machine.

    UNLISTED where there is no such connection. None where the system does not tell, or what is given is no address.
    """
    if client is None or server is None or server[1] is None:
        return None
    try:
        ends = [(ipaddress.ip_address(host), port) for host, port in (client, (server[0], server[1]))]
    except ValueError:
        return None
    if (told := _ask_for(ends)) is not None:
        return told
    lists = [path for path in _LISTS if path.exists()]
    for path in lists * _LOOKS:
        ends_in_hex = " ".join(f"{_address(host, path.name == 'tcp6')}:{port:04X}" for host, port in ends)
        listed = path.read_text(encoding="ascii")
        place = listed.find(f" {ends_in_hex} ")
        if place >= 0:
            found = listed[listed.rfind("\n", 0, place) + 1 :].partition("\n")[0].split()
            return int(found[_USER]) if found[_INODE] != "0" else UNLISTED
    return UNLISTED if lists else None


def _ask_for(ends: list[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]) -> int | None:
    """The same of one connection by sock_diag(7): the list takes milliseconds where there are thousands, for each new one.

    None where the kernel does not know the connection, or does not answer such questions: then the list is read.
    """
    (host, port), (server, server_port) = ends
    if host.version != server.version or sys.platform != "linux":
        return None
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6
    body = _ASKED.pack(family, socket.IPPROTO_TCP, 0xFFFFFFFF)
    body += _ENDS.pack(port, server_port, host.packed, server.packed) + _ANY_COOKIE
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _DIAGNOSIS) as asking:
            asking.settimeout(_WAIT_S)
            asking.send(_HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST, 1, 0) + body)
            answer = asking.recv(4096)
    except OSError:
        return None
    if len(answer) < _TOLD_AT + _TOLD.size or _HEADER.unpack_from(answer)[1] != _BY_FAMILY:
        return None
    user, inode = _TOLD.unpack_from(answer, _TOLD_AT)
    return int(user) if inode else UNLISTED


def _address(host: ipaddress.IPv4Address | ipaddress.IPv6Address, wide: bool) -> str:
    """As the kernel prints it: words of 32 bits in the machine's byte order. Wide ones hold IPv4 addresses, too."""
    packed = host.packed
    if wide and host.version == 4:
        packed = ipaddress.IPv6Address(f"::ffff:{host}").packed
    words = [packed[start : start + 4] for start in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)

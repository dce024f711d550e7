"""Whose program is at the other end of a connection from this machine, as Linux lists it in /proc/net/tcp."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path

UNLISTED = -1
"""No user: the system lists connections, and not this one, or no program holds its other end any more."""
_LISTS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_USER, _INODE = 7, 9
"""The places of the user's number and of the socket's in a line; a socket that no program holds has neither, but zeros."""
_LOOKS = 3
"""The list is not read in one moment: while others connect, a connection may be missing from it once."""


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
    lists = [path for path in _LISTS if path.exists()]
    for path in lists * _LOOKS:
        ends_in_hex = " ".join(f"{_address(host, path.name == 'tcp6')}:{port:04X}" for host, port in ends)
        listed = path.read_text(encoding="ascii")
        place = listed.find(f" {ends_in_hex} ")
        if place >= 0:
            found = listed[listed.rfind("\n", 0, place) + 1 :].partition("\n")[0].split()
            return int(found[_USER]) if found[_INODE] != "0" else UNLISTED
    return UNLISTED if lists else None


def _address(host: ipaddress.IPv4Address | ipaddress.IPv6Address, wide: bool) -> str:
    """As the kernel prints it: words of 32 bits in the machine's byte order. Wide ones hold IPv4 addresses, too."""
    packed = host.packed
    if wide and host.version == 4:
        packed = ipaddress.IPv6Address(f"::ffff:{host}").packed
    words = [packed[start : start + 4] for start in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)

"""Whose program is at the other end of a connection from this machine, as Linux lists it in /proc/net/tcp."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path

_LISTS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"
_USER = 7
"""The place of the user's number in a line."""


def user_of(client: tuple[str, int] | None, server: tuple[str, int] | None) -> int | None:
    """The number of the user who opened the client's end of a TCP connection between two addresses of this machine.

    None where it is not known: another system, or another machine's client.
    """
    if client is None or server is None:
        return None
    try:
        ends = [(ipaddress.ip_address(host), port) for host, port in (client, server)]
    except ValueError:
        return None
    for path, wide in zip(_LISTS, (False, True), strict=True):
        wanted = " ".join(f"{_address(host, wide)}:{port:04X}" for host, port in ends)
        try:
            listed = path.read_text(encoding="ascii")
        except OSError:
            continue
        place = listed.find(f" {wanted} {_ESTABLISHED} ")
        if place >= 0:
            line = listed[listed.rfind("\n", 0, place) + 1 :].partition("\n")[0]
            return int(line.split()[_USER])
    return None


def _address(host: ipaddress.IPv4Address | ipaddress.IPv6Address, wide: bool) -> str:
    """As the kernel prints it: words of 32 bits in the machine's byte order. Wide ones hold IPv4 addresses, too."""
    packed = host.packed
    if wide and host.version == 4:
        packed = ipaddress.IPv6Address(f"::ffff:{host}").packed
    words = [packed[start : start + 4] for start in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)

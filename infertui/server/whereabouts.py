"""Where a server runs: whose processes it is made of, on this machine or on another."""

from __future__ import annotations

import socket

import msgspec

from infertui.server.base import Server
from infertui.server.process import host_port, listeners

# They hold a port for a server that runs in a container, and are not the server.
PROXIES = (
    "docker-proxy",
    "com.docker.backend",
    "vpnkit-bridge",
    "rootlessport",
    "gvproxy",
    "limactl",
    "OrbStack Helper",
)


class Whereabouts(msgspec.Struct, frozen=True, kw_only=True):
    """`roots` and all that came of them are the server. `adopters`: whose parent died becomes their child."""

    roots: tuple[int, ...] = ()
    adopters: tuple[int, ...] = ()
    elsewhere: bool = False
    reason: str = ""  # why its processes are not known


def whereabouts(server: Server) -> Whereabouts:
    """The processes of a server that serves, as far as we may know them."""
    if server.known is not None:
        return Whereabouts(roots=(server.known.pid,), adopters=(server.known.supervisor,))
    host, port = host_port(server.url)
    if not _here(host):
        return Whereabouts(elsewhere=True, reason=f"{server.name} is on another machine: what it uses cannot be seen")
    found = listeners(port)
    proxies = sorted({name for _, name in found if name in PROXIES})
    if proxies:
        return Whereabouts(reason=f"{server.name} runs in a container ({proxies[0]}): what it uses cannot be seen")
    if not found:
        return Whereabouts(reason=f"who listens on port {port} is not told: {server.name} belongs to another user")
    return Whereabouts(roots=tuple(pid for pid, _ in found))


def _here(host: str) -> bool:
    """Whether an address is one of this machine's own: only those can be listened on."""
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
            with socket.socket(family, socket.SOCK_STREAM) as one:
                one.bind(address)
                return True
    except OSError:
        pass
    return False

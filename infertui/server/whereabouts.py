"""Where a server runs: whose processes it is made of, on this machine or on another."""

from __future__ import annotations

import contextlib
import socket

import msgspec

from infertui.server.base import Server
from infertui.server.process import host_port, listeners
from infertui.text import plain

# They hold a port for a server and are not it: for one in a container or behind them here, or for one elsewhere.
PROXIES = (
    *("docker-proxy", "com.docker.backend", "vpnkit-bridge", "rootlessport", "gvproxy", "limactl", "OrbStack Helper"),
    *("socat", "nginx", "haproxy", "caddy", "envoy", "traefik"),
)
TUNNELS = ("ssh", "sshd", "autossh", "kubectl", "cloudflared", "tailscaled")


class Whereabouts(msgspec.Struct, frozen=True, kw_only=True):
    """`roots` and all that came of them are the server. `adopters`: whose parent died becomes their child."""

    roots: tuple[int, ...] = ()
    adopters: tuple[int, ...] = ()
    elsewhere: bool = False
    who: str = ""  # the program that was found listening, and taken for it
    reason: str = ""  # why its processes are not known


def whereabouts(server: Server) -> Whereabouts:
    """The processes of a server that serves, as far as we may know them."""
    if server.known is not None:
        return Whereabouts(roots=(server.known.pid,), adopters=(server.known.supervisor,))
    host, port = host_port(server.url)
    if not _here(host):
        return Whereabouts(elsewhere=True, reason=f"{server.name} is on another machine: what it uses cannot be seen")
    found = listeners(port)
    for name in sorted({name for _, name in found}):
        if name in (*PROXIES, *TUNNELS):
            reason = f"{server.name} is reached through {name}: what it uses cannot be seen"
            return Whereabouts(elsewhere=name in TUNNELS, reason=reason)
    if not found:
        return Whereabouts(reason=f"who listens on port {port} is not told: {server.name} belongs to another user")
    names = ", ".join(f"{plain(name, 40)} (pid {pid})" for pid, name in found)
    return Whereabouts(roots=tuple(pid for pid, _ in found), who=names)


def _here(host: str) -> bool:
    """Whether an address is one of this machine's own: only those can be listened on."""
    try:
        addresses = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, _, _, _, address in addresses:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as one:
            one.bind(address)
            return True
    return False

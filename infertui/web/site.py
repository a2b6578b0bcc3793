"""The site that `infertui web` serves: a page with a terminal in it, and behind each tab a session.

The terminal, the protocol and the downloads are textual-serve's. Its page is not: it loads a font from another host.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import WSCloseCode, web
from textual_serve.server import Server

from infertui.errors import UsageError
from infertui.server.process import LOOPBACK, held_by, listens
from infertui.text import plain
from infertui.web.guard import Guard
from infertui.web.session import GRACE_S, Session

PORT = 8400
NEXT = 20  # ports that are tried after it
PAGE = Path(__file__).parent / "page"
SIZES = (20, 1000)  # columns or rows that a terminal may have
HEARTBEAT_S = 15.0


class Site(Server):
    """`command` starts the app of a session."""

    def __init__(self, command: Sequence[str], port: int) -> None:
        super().__init__("", host=LOOPBACK, port=port, title="InferTUI")
        self.guard = Guard(port)
        self._argv = list(command)
        self._lifeline, self._held = os.pipe()
        self._tabs: set[web.WebSocketResponse] = set()

    @property
    def address(self) -> str:
        return f"{self.public_url}/?token={self.guard.token}"

    async def _make_app(self) -> web.Application:
        app = web.Application(middlewares=[self.guard.pass_on])
        app.add_routes(
            [
                web.get("/", self.handle_index),
                web.get("/ws", self.handle_websocket),
                web.get("/download/{key}", self.handle_download),
                web.static("/page", PAGE),
                web.static("/static", self.statics_path),
            ]
        )
        app.on_response_prepare.append(self.guard.label)
        app.on_shutdown.append(self.on_shutdown)
        return app

    async def handle_index(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE / "index.html")

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """One tab: from its first size to its end."""
        tab = web.WebSocketResponse(heartbeat=HEARTBEAT_S)
        await tab.prepare(request)
        session = Session(self._argv, self._lifeline, tab, self.download_manager)
        self._tabs.add(tab)
        try:
            await session.start(*(_size(request.query.get(key, "")) for key in ("width", "height")))
            await self._process_messages(tab, session)
        except ConnectionError:  # it was closed in the middle of a word
            pass
        except (ValueError, LookupError, TypeError, AttributeError, AssertionError):  # not what our page sends
            await tab.close(code=WSCloseCode.INVALID_TEXT)
        finally:
            self._tabs.discard(tab)
            await session.stop()
        return tab

    async def on_shutdown(self, app: web.Application) -> None:
        """Each tab is told; its session ends after it."""
        await asyncio.gather(*(tab.close(code=WSCloseCode.GOING_AWAY) for tab in self._tabs))

    async def listen(self, bound: socket.socket, ready: Callable[[], None]) -> None:
        """Serve until Ctrl-C or the end of the terminal."""
        logging.basicConfig(level=logging.ERROR, handlers=[_OneLine()])
        runner = web.AppRunner(await self._make_app(), access_log=None, shutdown_timeout=3 * GRACE_S)
        await runner.setup()
        over = asyncio.Event()
        for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(kind, over.set)
        try:
            await web.SockSite(runner, bound).start()
            ready()
            await over.wait()
        finally:
            await runner.cleanup()


class _OneLine(logging.Handler):
    """What goes wrong in a request is no traceback."""

    def emit(self, record: logging.LogRecord) -> None:
        why: Any = record.exc_info[1] if record.exc_info else None
        said = f"infertui: {record.getMessage()}{f' ({type(why).__name__}: {why})' if why else ''}"
        with contextlib.suppress(OSError):
            print(plain(said, 1000), file=sys.stderr)


def _size(text: str) -> int:
    least, most = SIZES
    return min(most, max(least, int(text)))


def _bound(port: int) -> socket.socket | None:
    """A socket at that port; None when somebody has it."""
    if port and listens(f"http://{LOOPBACK}:{port}"):  # on all addresses, it would let us have this one
        return None
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        one.bind((LOOPBACK, port))
    except OSError as error:
        one.close()
        if error.errno == errno.EACCES:
            raise UsageError(f"port {port} is not for us to take: {error.strerror}", "--port 0 takes any") from None
        return None
    return one


def _free(port: int | None) -> socket.socket:
    """At the port that was asked for; else at the usual one, or the next that is free."""
    tried = [port] if port is not None else [*range(PORT, PORT + NEXT), 0]
    for each in tried:
        if (bound := _bound(each)) is not None:
            return bound
    raise UsageError(held_by(f"http://{LOOPBACK}:{tried[0]}"), "without --port the next free one is taken")


def _open(address: str, say: Callable[[str], None]) -> None:
    """In the user's browser."""
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    nothing = subprocess.DEVNULL
    try:
        subprocess.Popen([opener, address], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
    except OSError:
        say(f"no browser could be opened ({opener} is missing): open the address yourself")


def serve(
    command: Sequence[str],
    port: int | None,
    opens: bool,
    tell: Callable[[str], None],
    say: Callable[[str], None],
) -> None:
    """Serve the app that `command` starts, until Ctrl-C. `tell` gets the address, `say` what else there is to say."""
    with _free(port) as bound:
        site = Site(command, bound.getsockname()[1])

        def ready() -> None:
            tell(site.address)
            say("Ctrl-C ends it, with what runs in it; who has this address can use the app")
            if opens:
                _open(f"{site.public_url}/?token={site.guard.token_once()}", say)

        asyncio.run(site.listen(bound, ready))

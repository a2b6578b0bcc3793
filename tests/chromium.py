"""Chromium, driven by its own protocol: a page that is opened, looked at, and typed into."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.terminal import Picture

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,800"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-quic", "--disable-extensions", "--disable-default-apps", "--hide-scrollbars"),
)
ON_A_MAC = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
START_S = 40.0


def program() -> str:
    """Its command, where it is installed."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    return next((path for path in ON_A_MAC if sys.platform == "darwin" and os.access(path, os.X_OK)), "")


class Tab:
    """One page. `picture` is what the terminal in it has been sent, `asked` the addresses that it has asked for."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self.picture = Picture(80, 24)
        self.asked: list[str] = []
        self.said: list[str] = []  # errors, on its console
        self._connection = connection
        self._session = ""
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        await self._connection.send_json(message | ({"sessionId": self._session} if self._session else {}))
        return await asyncio.wait_for(answer, START_S)

    async def listen(self) -> None:
        async for message in self._connection:
            told = json.loads(message.data)
            if "id" in told:
                answer = self._answers.pop(told["id"])
                if not answer.done():
                    if "error" in told:
                        answer.set_exception(RuntimeError(told["error"]["message"]))
                    else:
                        answer.set_result(told["result"])
            else:
                self._take(told["method"], told.get("params", {}))

    def _take(self, method: str, told: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.asked.append(told["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.asked.append(told["url"])
        elif method == "Network.webSocketFrameReceived" and told["response"]["opcode"] == 2:
            self.picture.feed(base64.b64decode(told["response"]["payloadData"]))
        elif method == "Network.webSocketFrameSent" and told["response"]["opcode"] == 1:
            kind, *values = json.loads(told["response"]["payloadData"])
            if kind == "resize":
                self.picture.resize(values[0]["width"], values[0]["height"])
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.said.append(told["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.said.append(told["exceptionDetails"]["text"])

    async def open(self, address: str) -> None:
        target = await self.send("Target.createTarget", url="about:blank")
        self._session = (await self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True))[
            "sessionId"
        ]
        for domain in ("Page", "Network", "Log", "Runtime"):
            await self.send(f"{domain}.enable")
        await self.send("Emulation.setFocusEmulationEnabled", enabled=True)  # as a window in front has it
        await self.send("Page.navigate", url=address)

    async def value(self, script: str) -> Any:
        """What a line of JavaScript gives."""
        return (await self.send("Runtime.evaluate", expression=script, returnByValue=True))["result"].get("value")

    async def press(self, key: str) -> None:
        code = ord(key.upper())
        for kind, text in (("keyDown", key), ("keyUp", "")):
            await self.send("Input.dispatchKeyEvent", type=kind, key=key, text=text, windowsVirtualKeyCode=code)

    async def photograph(self) -> bytes:
        """As a PNG."""
        return base64.b64decode((await self.send("Page.captureScreenshot", format="png"))["data"])

    async def wait_for(self, what: str | Callable[[str], bool], within_s: float = START_S) -> str:
        """The picture in the terminal that shows it."""
        until = asyncio.get_running_loop().time() + within_s
        while True:
            shown = self.picture.text
            if what in shown if isinstance(what, str) else what(shown):
                return shown
            if asyncio.get_running_loop().time() > until:
                raise AssertionError(f"{what!r} is not there:\n{shown}\n{self.said}\n{self.asked}")
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Tab]:
    """A fresh Chromium with one tab; it ends with this."""
    process = await asyncio.create_subprocess_exec(
        program(),
        *FLAGS,
        f"--user-data-dir={folder}",
        "--remote-debugging-port=0",
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        port, path = await _door(folder / "DevToolsActivePort", process)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0) as connection,
        ):
            tab = Tab(connection)
            listener = asyncio.create_task(tab.listen())
            try:
                yield tab
            finally:
                listener.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await listener
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _door(file: Path, process: asyncio.subprocess.Process) -> list[str]:
    """The port and the path at which it listens, as soon as it has written them down."""
    until = asyncio.get_running_loop().time() + START_S
    while asyncio.get_running_loop().time() < until and process.returncode is None:
        if len(words := _words(file)) == 2:
            return words
        await asyncio.sleep(0.05)
    raise AssertionError("Chromium did not start")


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except FileNotFoundError:
        return []

"""The app behind one tab: a process of its own, whose pictures go out and whose keys come in by pipes."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import Sequence

from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

READY = b"__GANGLION__\n"  # what Textual says before its first packet
GRACE_S = 5.0


class Session(AppService):
    """`command` is the app's. `lifeline` is a pipe that it reads: at its end the site is gone, and so the app goes."""

    def __init__(
        self, command: Sequence[str], lifeline: int, websocket: web.WebSocketResponse, downloads: DownloadManager
    ) -> None:
        async def close() -> None:
            await websocket.close()

        super().__init__(
            "",
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=close,
            download_manager=downloads,
        )
        self._argv = [*command, "--lifeline", str(lifeline)]
        self._lifeline = lifeline

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        self._process = await create_subprocess_exec(
            *self._argv,
            stdin=PIPE,
            stdout=PIPE,
            stderr=None,  # what it has to say beside its pictures
            env=self._build_environment(width, height),
            pass_fds=(self._lifeline,),
            start_new_session=True,  # a Ctrl-C is the site's, which then ends its sessions
        )
        self._stdin = self._process.stdin
        return self._process

    async def run(self) -> None:
        """Until the app has ended. What it says after its tab was closed is read and dropped, lest it hang on it."""
        assert self._process is not None
        assert self._process.stdout is not None
        said = self._process.stdout
        take = {b"D": self.on_data, b"M": self.on_meta, b"P": self.on_packed}
        try:
            await said.readuntil(READY)
            while True:
                head = await said.readexactly(5)
                payload = await said.readexactly(int.from_bytes(head[1:], "big"))
                with contextlib.suppress(ConnectionError):
                    await take[head[:1]](payload)
        except asyncio.IncompleteReadError:
            pass
        except (asyncio.LimitOverrunError, LookupError, ValueError):  # this is no app's
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        await self.remote_close()

    async def stop(self) -> None:
        """End the app: kindly, then less so. A run that it has started stops as on Ctrl-C."""
        task, self._task = self._task, None
        if task is None or self._process is None:
            return
        await self._download_manager.cancel_app_downloads(self.app_service_id)
        await self.send_meta({"type": "quit"})
        for harder in (self._process.terminate, self._process.kill):
            ended, _ = await asyncio.wait([task], timeout=GRACE_S)
            if ended:
                return
            with contextlib.suppress(ProcessLookupError):
                harder()
        await task

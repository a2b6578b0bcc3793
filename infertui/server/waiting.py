"""From a process that has been started to a server that answers, and how long each step took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NoReturn

from infertui.errors import Interrupted, ServerError
from infertui.metric import Start
from infertui.server import process
from infertui.server.process import Process, host_port, listens
from infertui.server.proof import one_token, proves, refusal
from infertui.server.state import Begun, Changed, Health, State

if TYPE_CHECKING:
    from infertui.server.base import Server

OFTEN_S = 0.01  # a look at whether it listens
SELDOM_S = 0.1  # a look at whether it has its model, which costs it a request
MAY_PASS = (429, 502, 503, 504)


class Waiting:
    """For a listening socket, a model and a first answer, in that order."""

    def __init__(self, server: Server, held: Process, changed: Changed) -> None:
        self.server = server
        self.held = held
        self.changed = changed
        self.until = time.monotonic() + server.profile.ready_s
        self.stamps_ms: dict[str, float] = {}
        self.trouble = "it does not listen"

    def begun(self) -> Begun:
        while not listens(self.server.url):
            self._still_wanted()
            time.sleep(OFTEN_S)
        self._stamp("accept")
        self.changed(State.LOADING, "listening")
        pause = OFTEN_S
        while not self._ready():
            self._still_wanted()
            time.sleep(pause)
            pause = min(pause * 1.1, SELDOM_S)
        self._still_wanted()  # it may have answered and died
        port = host_port(self.server.url)[1]
        if self.server.listens_itself and (stranger := process.stranger(port, self.held.record)):
            self._give_up(f"port {port} is in use by {stranger}: what answers there is not the server that was started")
        self.changed(State.READY, "")
        start = Start(
            accept_ms=self.stamps_ms["accept"],
            load_ms=self.stamps_ms.get("load"),
            first_answer_ms=self.stamps_ms["answer"],
        )
        known = self.held.record
        return Begun(url=self.server.url, pid=known.pid, log=known.log, start=start)

    def _stamp(self, step: str) -> None:
        self.stamps_ms.setdefault(step, (time.perf_counter_ns() - self.held.begun_ns) / 1e6)

    def _ready(self) -> bool:
        health = self._looked()
        self.trouble = health.reason or f"it is {health.state}"
        if health.state is State.ERROR:
            self._give_up(health.reason)
        if health.state is State.NOT_LOADED:
            self.server.load_model(self.server.model().name)
        if health.state is not State.READY:
            return False
        if not self.server.health_lies:
            self._stamp("load")
        self.trouble = self._answered()
        return not self.trouble

    def _looked(self) -> Health:
        try:
            return self.server.probe()
        except ServerError as error:  # it may still be opening, or have just died: the next look tells
            return Health(State.LOADING, error.message)

    def _answered(self) -> str:
        """Whether it really answers; if not yet, why."""

        def headers(status: int) -> None:
            if status == 200 and self.server.headers_mean_loaded:
                self._stamp("load")

        try:
            answer = one_token(self.server, max(0.1, self.until - time.monotonic()), headers)
        except ServerError as error:
            return f"it says that it is ready, but: {error.message}"
        if proves(answer):
            self._stamp("answer")
            return ""
        said = f"it says that it is ready, but {refusal(answer)}"
        if answer.status != 200 and answer.status not in MAY_PASS:
            self._give_up(said)
        return said

    def _still_wanted(self) -> None:
        server = self.server
        if server.cancelled:
            raise Interrupted(f"{server.name}: stopped while it was loading")
        if (ended := self.held.poll()) is not None:
            said = process.last_words(self.held.record.log)
            raise ServerError(f"{server.name} died while loading ({ended}): {said}", server.where())
        if time.monotonic() > self.until:
            said = f"{server.name} is not ready after {server.profile.ready_s:g} s: {self.trouble}"
            raise ServerError(said, f"a larger ready_s in its profile waits longer; {server.where()}")

    def _give_up(self, reason: str) -> NoReturn:
        raise ServerError(f"{self.server.name}: {reason}", self.server.where())

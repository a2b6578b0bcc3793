"""The mock's own event loop: one thread, one heap of due times, and waits that end on time."""

from __future__ import annotations

import gc
import heapq
import itertools
import select
import selectors
import socket
import sys
import threading
from array import array
from collections import deque
from collections.abc import Callable
from time import perf_counter_ns
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from infertui.errors import UsageError
from infertui.mock import reply
from infertui.mock.api import APIS
from infertui.mock.connection import Connection
from infertui.mock.dials import Dials
from infertui.mock.script import NEVER, Call, script

if TYPE_CHECKING:
    import ssl

_LATE_KEPT = 100_000
_TURN_NS = 2_000_000  # of due work, then the sockets are looked at
_COLLECT_AFTER = 1_000  # calls; then garbage is collected, once nothing is in flight


class Server:
    """Serves in the thread that calls `serve`, until `stop`; as a context manager in a thread of its own."""

    def __init__(
        self, dials: Dials, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.dials = dials
        self.host = host
        self.port = port
        self.tls = tls
        self.again: tuple[type[BaseException], ...] = (BlockingIOError, InterruptedError)
        if tls is not None:
            import ssl

            self.again += (ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._opened = False
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._turns = itertools.count()
        self._connections: set[Connection] = set()
        self._waiting: deque[Call] = deque()
        self._active = 0
        self._most = 0
        self._requests = 0
        self._total = 0
        self._cancelled = 0
        self._since_collect = 0
        self._late = array("q", bytes(8 * _LATE_KEPT))
        self._late_count = 0

    # -- life ----------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        self._opened = True
        self._selector = selectors.DefaultSelector()
        self._coarse = self._selector.__class__.__name__ in ("EpollSelector", "PollSelector", "DevpollSelector")
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._woken)
        try:
            self._listen()
        except (OSError, OverflowError) as error:
            self.close()
            raise UsageError(
                f"mock: cannot listen on {self.host}:{self.port}: {getattr(error, 'strerror', None) or error}",
                "choose another port, or 0 for any free one; the host must be an address of this machine",
            ) from None

    def _listen(self) -> None:
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen(1024)
        except BaseException:
            listener.close()
            raise
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ, self._accept)

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def serve(self) -> None:
        if not self._opened:
            self.open()
        alone = threading.current_thread() is threading.main_thread()
        if alone:  # else the collector is another's business
            _allow_files()
            _wake_promptly()
            gc.collect()
            gc.freeze()
            gc.disable()
        try:
            self._loop(alone)
        finally:
            if alone:
                gc.enable()
                gc.unfreeze()

    def stop(self) -> None:
        """From any thread, or from a signal handler."""
        self._stopping = True
        try:
            self._wake_write.send(b"\0")
        except OSError:
            pass  # full, so it wakes anyway; or closed

    def close(self) -> None:
        if not self._opened:
            return
        self._opened = False
        for connection in list(self._connections):
            connection.call = None
            connection.close()
        if self._listener is not None:
            self._listener.close()
        self._wake_read.close()
        self._wake_write.close()
        self._selector.close()

    def __enter__(self) -> Server:
        self.open()
        self._thread = threading.Thread(target=self.serve, name="mock server", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join()
        self.close()

    # -- time ----------------------------------------------------------------------------------------------------------

    def later(self, due: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (due, next(self._turns), action))

    def late(self, nanoseconds: int) -> None:
        self._late[self._late_count % _LATE_KEPT] = nanoseconds
        self._late_count += 1

    def _loop(self, alone: bool) -> None:
        heap = self._heap
        while not self._stopping:
            self._run_due()
            for key, mask in self._events():
                key.data(mask)
                if heap and heap[0][0] <= perf_counter_ns():
                    self._run_due()  # tokens that are due go before a burst of new requests
            if alone and self._since_collect >= _COLLECT_AFTER and not self._active:
                self._since_collect = 0
                gc.collect()

    def _run_due(self) -> None:
        heap = self._heap
        if not heap:
            return
        now = perf_counter_ns()
        end = now + _TURN_NS
        while heap and heap[0][0] <= now < end:
            heapq.heappop(heap)[2]()
            now = perf_counter_ns()

    def _events(self) -> list[tuple[selectors.SelectorKey, int]]:
        """What the sockets have, waited for until the next due time; no spinning: the client needs the cores too."""
        if not self._heap:
            return self._selector.select(None)
        wait = self._heap[0][0] - perf_counter_ns()
        if wait <= 0:
            return self._selector.select(0)
        if not self._coarse:
            return self._selector.select(wait / 1e9)
        try:
            # epoll's own waits have a grain of 1 ms; `select` has the clock's, and can wait on the epoll itself
            select.select([self._selector], [], [], wait / 1e9)
        except ValueError:  # too many files are open for select
            return self._selector.select(wait // 1_000_000 / 1e3)
        return self._selector.select(0)

    # -- connections ---------------------------------------------------------------------------------------------------

    def _woken(self, mask: int) -> None:
        try:
            self._wake_read.recv(4096)
        except BlockingIOError:
            pass

    def _accept(self, mask: int) -> None:
        for _ in range(16):
            if self._listener is None:
                return
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # out of file descriptors, most likely
                self._refuse(50)
                return
            sock.setblocking(False)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.tls is not None:
                    sock = self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            except OSError:  # the client has left already
                sock.close()
                continue
            connection = Connection(self, sock)
            self._connections.add(connection)
            self._total += 1
            self._selector.register(sock, selectors.EVENT_READ, connection.ready)
            if self.dials.keepalive_s:
                self.idle(connection)

    def _refuse(self, milliseconds: float) -> None:
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
            self._return_at(perf_counter_ns() + round(milliseconds * 1e6))

    def _return_at(self, due: int) -> None:
        def come_back() -> None:
            try:
                self._listen()
            except OSError:  # the port is taken for the moment
                self._return_at(perf_counter_ns() + 50_000_000)

        self.later(due, come_back)

    def idle(self, connection: Connection) -> None:
        since = connection.idle_since

        def expire() -> None:
            if connection.idle_since == since:
                connection.close()

        self.later(since + round(connection.keepalive_s * 1e9), expire)

    def watch(self, connection: Connection, sock: socket.socket, mask: int) -> None:
        self._selector.modify(sock, mask, connection.ready)

    def forget(self, connection: Connection, sock: socket.socket) -> None:
        self._connections.discard(connection)
        self._selector.unregister(sock)

    # -- requests ------------------------------------------------------------------------------------------------------

    def requested(self, connection: Connection) -> None:
        path = connection.url.partition(b"?")[0]
        api = APIS.get(path) if connection.method == b"POST" else None
        try:
            if api is None:
                self._tell(connection, path)
                return
            self._authorise(connection, self.dials)
            asked = reply.ask(api, connection.body, self.dials)
            self._authorise(connection, asked.dials)
        except reply.Refusal as refusal:
            self._answer_at_once(connection, refusal)
            return
        self._requests += 1
        self._since_collect += 1
        fault = self._fault(asked.dials)
        if fault in reply.REFUSALS:
            self._answer_at_once(connection, reply.REFUSALS[fault], asked.dials)
        elif fault in ("refuse", "reset-early"):
            if fault == "refuse":
                self._refuse(asked.dials.refuse_ms)  # first, or a client that comes back at once gets in
            connection.reset()
        else:
            self._admit(Call(self, connection, reply.Answer(asked, fault, self._requests)))

    def _fault(self, dials: Dials) -> str:
        turn, rest = divmod(self._requests, dials.fault_every)
        return "" if rest or not dials.faults else dials.faults[(turn - 1) % len(dials.faults)]

    def _authorise(self, connection: Connection, dials: Dials) -> None:
        if dials.api_key and connection.fields.get(b"authorization") != b"Bearer " + dials.api_key.encode():
            raise reply.error(401, "Invalid API Key", "authentication_error")

    def _answer_at_once(self, connection: Connection, answer: reply.Refusal, dials: Dials | None = None) -> None:
        dials = dials or self.dials
        head = connection.begin(
            answer.status,
            answer.kind,
            length=len(answer.body),
            http10=dials.http10,
            keepalive_s=dials.keepalive_s,
            headers=answer.headers,
        )
        connection.send(head if connection.method == b"HEAD" else head + answer.body)
        connection.over()

    def turn_away(self, connection: Connection, status: int, message: str) -> None:
        """A request that cannot be read to its end."""
        refusal = reply.error(status, message)
        head = connection.begin(status, refusal.kind, length=len(refusal.body), http10=False, keepalive_s=0)
        connection.send(head + refusal.body)
        connection.linger()

    def _tell(self, connection: Connection, path: bytes) -> None:
        if connection.method not in (b"GET", b"HEAD"):
            path = b""
        if path not in (b"/health", b"/v1/models", b"/mock/stats"):
            self._authorise(connection, self.dials)
        facts = self._facts(path)
        if facts is None:
            raise reply.error(404, "File Not Found", "not_found_error")
        raise reply.Refusal(200, msgspec.json.encode(facts))

    def _facts(self, path: bytes) -> dict[str, object] | None:
        dials = self.dials
        if path == b"/health":
            return {"status": "ok"}
        if path == b"/v1/models":
            model = {"id": dials.model, "object": "model", "created": 0, "owned_by": "infertui-mock"}
            return {
                "object": "list",
                "data": [model | {"max_model_len": dials.context, "meta": {"n_ctx": dials.context}}],
            }
        if path == b"/props":
            facts: dict[str, object] = {"build_info": "infertui-mock", "model_alias": dials.model, "model_path": ""}
            facts["default_generation_settings"] = {"n_ctx": dials.context}
            return facts | ({"total_slots": dials.slots} if dials.slots else {})
        if path == b"/api/version" and dials.ollama:
            return {"version": "0.0.0-infertui-mock"}
        if path == b"/mock/stats":
            return self.stats()
        return None

    def stats(self) -> dict[str, object]:
        """What happened so far. Sorting the lateness takes some milliseconds: ask when the load is over."""
        late = sorted(self._late[: min(self._late_count, _LATE_KEPT)])
        at = (len(late) - 1) / 100
        return {
            "requests": self._requests,
            "active": self._active,
            "waiting": len(self._waiting),
            "most_at_once": self._most,
            "connections_open": len(self._connections),
            "connections_total": self._total,
            "cancelled": self._cancelled,
            "chunks": self._late_count,
            "late_p50_us": late[round(50 * at)] / 1e3 if late else None,
            "late_p99_us": late[round(99 * at)] / 1e3 if late else None,
            "late_max_us": late[-1] / 1e3 if late else None,
        }

    # -- slots ---------------------------------------------------------------------------------------------------------

    def _admit(self, call: Call) -> None:
        call.connection.call = call
        if call.dials.headers == "at_once" and call.answer.ask.stream and call.fault != "silent":
            call.begin()
        if self._waiting or not self._free(call):
            self._waiting.append(call)
        else:
            self._start(call, call.read_ns)

    def _free(self, call: Call) -> bool:
        return not call.dials.slots or self._active < call.dials.slots

    def _start(self, call: Call, now: int) -> None:
        self._active += 1
        self._most = max(self._most, self._active)
        call.start_ns = now
        call.answer.queued_ns = now - call.read_ns
        call.steps = script(call)

        def advance() -> None:
            if call.over:
                return
            due = next(call.steps, None)
            if call.over:  # the client left meanwhile
                return
            if due is None:
                self._release(call)
            elif due != NEVER:
                heapq.heappush(self._heap, (due, next(self._turns), advance))

        self.later(now, advance)

    def _release(self, call: Call) -> None:
        call.over = True
        call.steps = iter(())
        self._active -= 1
        while self._waiting and self._free(self._waiting[0]):
            self._start(self._waiting.popleft(), perf_counter_ns())

    def left(self, call: Call) -> None:
        """The client of `call` has gone: its slot is free at once."""
        self._cancelled += 1
        if call.start_ns:
            if not call.over:
                self._release(call)
        else:
            self._waiting.remove(call)
            call.over = True


def _wake_promptly() -> None:
    """Waits of this thread end within a microsecond of their time, not within Linux's usual 50."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(29, 1000, 0, 0, 0)  # PR_SET_TIMERSLACK, in ns


def _allow_files() -> None:
    """As many open files as this process may have: each stream is one, and macOS begins with 256."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10_240 if hard == resource.RLIM_INFINITY else min(hard, 10_240)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

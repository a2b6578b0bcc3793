"""Plans under way against the mock: order, limits, connections, failures, stops."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from infertui.bench.asked import Asked, Turn
from infertui.bench.seen import Later, Seen, later
from infertui.client import driver
from infertui.client.api import CHAT, COMPLETIONS, NATIVE
from infertui.client.driver import Drive, Live, Sender, Stop
from infertui.client.record import Done
from infertui.client.wire import Limits, Target
from infertui.event import Event, Ticked
from infertui.mock import Dials, Server, words
from infertui.profile import Profile
from infertui.scenario import scenario
from infertui.scenario.base import Params
from infertui.scenario.plan import Block, Call, Message, Plan, Prompt

PROMPT = Prompt("p-1", "router", 20, (Message("system", "Be short."), Message("user", "Which of them is it?")))
FAST = Limits(connect_s=2, first_byte_s=0.6, first_token_s=0.6, idle_s=0.6, total_s=5)


def call(name: str, **fields: Any) -> Call:
    return Call(name, PROMPT, **{"max_tokens": 20, **fields})


def sender(url: str, **fields: Any) -> Sender:
    return Sender(**{"target": Target(url), "api": CHAT, "model": "mock", "limits": FAST, **fields})


def drive(
    url: str, *calls: Call, concurrency: int | None = None, stop: Stop | None = None, **fields: Any
) -> list[Done]:
    """Run the calls as one measured block; what came of them, in the order of the plan."""
    done: dict[str, Done] = {}
    block = Block("measured", 1, Plan(calls, concurrency))

    async def main() -> None:
        await Drive(sender(url, **fields), block, lambda one: done.update({one.record.name: one}), stop=stop).run()

    asyncio.run(main())
    return [done[each.name] for each in calls if each.name in done]


def outcomes(done: list[Done]) -> list[str]:
    return [one.record.outcome for one in done]


def test_a_reply_is_stamped_counted_and_kept(served: Callable[..., Server]) -> None:
    (one,) = drive(served(tokens=20, reasoning=5).address, call("a"))
    record = one.record
    assert (record.outcome, record.finish, record.status) == ("ok", "length", 200)
    assert (record.n_output, record.n_source, record.n_pieces) == (20, "usage", 20)
    assert one.thought == words(5)
    assert one.text == words(15)
    assert record.sched_ns <= record.send_ns < record.headers_ns < record.first_ns < record.first_answer_ns
    assert record.first_answer_ns < record.last_ns <= record.end_ns
    assert record.ttft_ms == (record.first_ns - record.send_ns) / 1e6
    assert record.ttft_ms >= 20
    assert record.connection_use == 1


def test_every_stamp_is_later_than_the_servers(served: Callable[..., Server]) -> None:
    (one,) = drive(served(tokens=20).address, call("a"))
    assert len(one.reads.sent_us) == 20
    read = [at for at, count in zip(one.reads.at_us, one.reads.pieces, strict=True) for _ in range(count)]
    assert all(at >= sent for at, sent in zip(read, one.reads.sent_us, strict=True))


def test_a_plan_is_sent_in_its_order_with_its_pauses(served: Callable[..., Server]) -> None:
    plan = (
        call("plan"),
        call("tool-1", after=(0,)),
        call("tool-2", after=(0,), think_ms=60),
        call("answer", after=(1, 2)),
        call("timed", at_ms=40),
    )
    by_name = {one.record.name: one.record for one in drive(served(tokens=3).address, *plan)}
    first = by_name["plan"]
    assert by_name["tool-1"].sched_ns == first.end_ns
    assert by_name["tool-2"].sched_ns == first.end_ns + 60_000_000
    assert by_name["answer"].sched_ns == max(by_name["tool-1"].end_ns, by_name["tool-2"].end_ns)
    assert by_name["timed"].sched_ns == first.sched_ns + 40_000_000
    for record in by_name.values():
        assert record.send_ns >= record.sched_ns


def test_no_more_calls_are_under_way_than_asked_for(served: Callable[..., Server]) -> None:
    server = served(tokens=5)
    assert outcomes(drive(server.address, *(call(f"c{n}") for n in range(12)), concurrency=3)) == ["ok"] * 12
    assert server.stats()["most_at_once"] == 3


def test_a_closed_loop_uses_its_connections_again(served: Callable[..., Server]) -> None:
    server = served(tokens=3)
    done = drive(server.address, *(call(f"c{n}") for n in range(9)), concurrency=3)
    assert server.stats()["connections_total"] == 3
    assert sorted(one.record.connection_use for one in done) == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert sum(one.record.connect_ms is not None for one in done) == 3


def test_a_server_that_closes_after_each_reply_gets_a_connection_a_call(served: Callable[..., Server]) -> None:
    server = served(tokens=3, http10=True)
    done = drive(server.address, *(call(f"c{n}") for n in range(4)), concurrency=2)
    assert outcomes(done) == ["ok"] * 4
    assert {one.record.connection_use for one in done} == {1}
    assert server.stats()["connections_total"] == 4


def test_a_late_call_waits_for_a_place_and_keeps_its_due_time(served: Callable[..., Server]) -> None:
    done = drive(served(tokens=100).address, call("a", at_ms=0.0, max_tokens=100), call("b", at_ms=10.0), concurrency=1)
    a, b = (one.record for one in done)
    assert b.sched_ns == a.sched_ns + 10_000_000
    assert b.send_ns >= a.end_ns
    assert b.sched_ttft_ms > b.ttft_ms + 50
    assert b.lag_ns > 50_000_000


FAULTS = {
    "refuse": "refused",
    "reset": "reset",
    "reset-early": "reset",
    "close": "truncated",
    "stall": "timeout-idle",
    "stall-first": "timeout-idle",
    "silent": "timeout-first-byte",
    "500": "http-500",
    "429": "http-429",
    "503": "http-503",
    "400": "http-400",
    "html": "http-502",
    "html-200": "bad-stream",
    "half-utf8": "ok",
    "half-utf8-json": "ok",
    "giant-line": "bad-stream",
    "error-in-stream": "bad-stream",
    "no-done": "ok",
    "no-finish": "truncated",
    "no-usage": "ok",
    "bad-json": "bad-stream",
    "bad-chunk": "bad-stream",
    "slow-drip": "ok",
    "empty": "empty",
    "header-flood": "bad-stream",
}


def test_every_fault_of_the_mock_is_known_here() -> None:
    from infertui.mock import FAULTS as known

    assert set(FAULTS) == set(known)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "refuse"])
def test_a_fault_has_its_kind_and_leaves_the_rest_whole(served: Callable[..., Server], fault: str) -> None:
    # Every call has a connection of its own, so that a reset before the first byte is one and not a reopening.
    server = served(tokens=12, faults=fault, fault_every=3, keepalive_s=0)
    done = drive(server.address, *(call(f"c{n}") for n in range(6)), concurrency=1)
    hit, rest = done[2::3], [one for place, one in enumerate(done) if place % 3 != 2]
    expected = FAULTS[fault]
    assert outcomes(hit) == [expected] * 2
    assert set(outcomes(rest)) == {"ok"}
    for one in rest:
        assert (one.record.n_output, one.record.finish, one.text) == (12, "stop", words(12))
    for one in hit:
        assert bool(one.record.message) == (expected != "ok")


def test_a_server_that_refuses_for_a_while_is_met_again_later(served: Callable[..., Server]) -> None:
    server = served(tokens=3, faults="refuse", fault_every=2, refuse_ms=100, keepalive_s=0)
    done = drive(server.address, call("a"), call("b", after=(0,)), call("c", after=(1,)), call("d", at_ms=700.0))
    assert outcomes(done) == ["ok", "reset", "refused", "ok"]


def test_the_servers_words_are_kept_with_a_failure(served: Callable[..., Server]) -> None:
    (one,) = drive(served(faults="503").address, call("a"))
    assert one.record.message == "Loading model"
    (one,) = drive(served(faults="html").address, call("a"))
    assert one.record.message == "an HTML page: 502 Bad Gateway"


def test_a_refused_connection_is_no_call_that_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    (one,) = drive(f"http://127.0.0.1:{port}", call("a"))
    assert one.record.outcome == "refused"
    assert one.record.send_ns is None
    assert one.record.message == f"127.0.0.1:{port} refused the connection"


def test_a_host_without_an_address_is_unreachable() -> None:
    (one,) = drive("http://no-such-host.invalid:1", call("a"))
    assert one.record.outcome == "unreachable"


@pytest.mark.skipif(
    not hasattr(socket, "SO_PEERCRED"), reason="only Linux leaves connections to a full backlog waiting"
)
def test_a_connection_that_nobody_accepts_times_out() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        limits = msgspec.structs.replace(FAST, connect_s=0.3)
        (one,) = drive(f"http://127.0.0.1:{full.getsockname()[1]}", call("a"), limits=limits)
        for each in waiting:
            each.close()
    assert one.record.outcome == "timeout-connect"


def test_silence_is_noticed_long_before_the_other_limits(served: Callable[..., Server]) -> None:
    started = time.perf_counter()
    (one,) = drive(served(faults="stall").address, call("a"), limits=Limits(idle_s=0.5))
    assert one.record.outcome == "timeout-idle"
    assert time.perf_counter() - started < 20  # the others are minutes


def test_a_first_token_that_does_not_come_is_not_hidden_by_comments(served: Callable[..., Server]) -> None:
    server = served(ttft_ms=3000, comments=30)
    (one,) = drive(server.address, call("a"))
    assert one.record.outcome == "timeout-first-token"


def test_a_reply_that_never_ends_meets_the_total_limit(served: Callable[..., Server]) -> None:
    limits = msgspec.structs.replace(FAST, total_s=0.5)
    (one,) = drive(served(tokens=10_000, gap_ms=10).address, call("a", max_tokens=10_000), limits=limits)
    assert one.record.outcome == "timeout-total"
    assert one.record.n_pieces > 5
    assert one.record.ttft_ms is not None
    assert one.record.e2e_ms is None


def test_a_reply_larger_than_the_limit_is_cut(served: Callable[..., Server]) -> None:
    limits = msgspec.structs.replace(FAST, body_bytes=2000)
    (one,) = drive(served(tokens=500).address, call("a", max_tokens=500), limits=limits)
    assert one.record.outcome == "bad-stream"


def test_a_large_prompt_is_sent_whole(served: Callable[..., Server]) -> None:
    # More than a socket takes at once: the rest waits in the transport until the server has read.
    text = "word " * 400_000
    prompt = Prompt("long", "coding", 5, (Message("user", text),))
    (one,) = drive(served(context=10_000_000).address, Call("a", prompt, 5))
    assert (one.record.outcome, one.record.n_prompt) == ("ok", 400_000)


@pytest.mark.parametrize("api", [CHAT, COMPLETIONS, NATIVE["llama.cpp"], NATIVE["ollama"]], ids=lambda api: api.path)
@pytest.mark.parametrize("stream", [True, False])
def test_every_api_gives_the_same_text_and_counts(served: Callable[..., Server], api: Any, stream: bool) -> None:
    (one,) = drive(served(tokens=10, ollama=True).address, call("a"), api=api, stream=stream)
    record = one.record
    assert (record.outcome, one.text, record.n_output) == ("ok", words(10), 10)
    assert record.e2e_ms >= 20
    assert (record.ttft_ms is not None) == stream
    assert record.n_pieces == (10 if stream else 1)


def test_a_tool_call_is_an_answer(served: Callable[..., Server]) -> None:
    (one,) = drive(served(tokens=6, tool_call=True).address, call("a"))
    assert one.record.outcome == "ok"
    assert one.record.ttfa_ms == one.record.ttft_ms is not None


def test_chunks_of_several_tokens_give_the_true_speed(served: Callable[..., Server]) -> None:
    (one,) = drive(served(tokens=40, per_chunk=4, gap_ms=8).address, call("a", max_tokens=40))
    record = one.record
    assert (record.n_output, record.n_pieces, record.n_first) == (40, 10, 4.0)
    span_ms = (record.last_ns - record.first_ns) / 1e6
    assert record.decode_tps == pytest.approx(36 / span_ms * 1e3)


def test_a_connection_that_was_closed_while_idle_is_opened_once_more() -> None:
    """A server that promises to keep a connection, and closes it as the second request arrives."""
    body = b'{"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + body)
        await reader.read(1)
        await reader.read(100_000)
        writer.close()

    done: list[Done] = []

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        block = Block("measured", 1, Plan((call("a"), call("b"), call("c")), 1))
        await Drive(sender(url, stream=False), block, done.append).run()
        server.close()

    asyncio.run(main())
    a, b, c = (one.record for one in done)
    assert (a.outcome, a.reopened) == ("ok", 0)
    assert (b.outcome, b.reopened, b.connection_use) == ("ok", 1, 1)
    assert b.send_ns > a.end_ns
    assert (c.outcome, c.reopened, c.connection_use) == ("ok", 0, 1)  # by then it is known
    assert connections == 3


def test_a_server_that_dies_over_a_request_is_no_idle_connection(served: Callable[..., Server]) -> None:
    """It works on the second request for a while, and closes without a byte: that call failed."""
    body = b'{"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + body)
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.3)
        writer.close()

    done: list[Done] = []

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await Drive(sender(url, stream=False), Block("measured", 1, Plan((call("a"), call("b")), 1)), done.append).run()
        server.close()

    asyncio.run(main())
    assert outcomes(done) == ["ok", "reset"]
    assert done[1].record.reopened == 0


def test_a_stall_of_the_client_counts_for_every_probe_that_it_swallowed() -> None:
    block = Block("measured", 1, Plan((call("a"),), 1))
    watched = Drive(sender("http://127.0.0.1:1"), block, lambda one: None)
    watched._over = True
    watched._probe(time.perf_counter_ns() - 1_000_000_000)
    late = [round(lag / 1e6) for lag in watched.loop_lag_ns]
    assert len(late) == 50
    assert (late[0], late[1] - late[0]) == (980, -20)


def test_a_reply_that_breaks_our_own_code_costs_its_call_and_not_the_run(
    served: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    understood = driver.record.done

    def broken(flight: Any, *rest: Any) -> Done:
        if flight.call.name == "b" and flight.exchange is not None:
            raise ZeroDivisionError("what nobody thought of")
        return understood(flight, *rest)

    monkeypatch.setattr(driver.record, "done", broken)
    done = drive(served(tokens=3).address, call("a"), call("b"), call("c"), concurrency=1)
    assert outcomes(done) == ["ok", "bad-stream", "ok"]
    assert "what nobody thought of" in done[1].record.message


def test_a_flood_is_not_read_on_before_it_is_decoded(served: Callable[..., Server]) -> None:
    limits = msgspec.structs.replace(FAST, ahead_bytes=20_000)
    server = served(tokens=3000, gap_ms=0, ttft_ms=400)
    (slow,) = drive(server.address, call("a", max_tokens=3000), limits=msgspec.structs.replace(limits, idle_s=3))
    assert (slow.record.outcome, slow.record.n_output) == ("ok", 3000)
    assert slow.text == words(3000)


def odd(chunks: list[dict[str, Any]], headers: str = "Content-Type: text/event-stream", **fields: Any) -> Done:
    """The record of a call to a server that says just this, 10 ms apart."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\n{headers}\r\nConnection: close\r\n\r\n".encode())
        for chunk in chunks:
            await asyncio.sleep(0.01)
            writer.write(b"data: " + msgspec.json.encode(chunk) + b"\n\n")
        writer.write(b"data: [DONE]\n\n")
        await writer.drain()
        writer.close()

    done: list[Done] = []

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await Drive(sender(url, **fields), Block("measured", 1, Plan((call("a"),), 1)), done.append).run()
        server.close()

    asyncio.run(main())
    return done[0]


def said(text: str, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **fields}


STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


@pytest.mark.parametrize("amount", [-5, 1e30, float(1 << 40)])
def test_counts_that_cannot_be_are_not_believed(amount: float) -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": amount, "completion_tokens": amount}}
    record = odd([said("a"), said("b"), STOP, usage]).record
    assert (record.outcome, record.n_output, record.n_source, record.n_prompt) == ("ok", 2, "pieces", None)


def test_hidden_thoughts_do_not_make_the_answer_faster() -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 500}}
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 505, **details}}
    record = odd([*(said(word) for word in "abcde"), STOP, usage]).record
    assert (record.n_output, record.n_hidden, record.n_first) == (505, 500, 1.0)
    span_ms = (record.last_ns - record.first_ns) / 1e6
    assert record.decode_tps == pytest.approx(4 / span_ms * 1e3)


@pytest.mark.parametrize("stamp", [1, 1 << 62, 1 << 70])
def test_stamps_of_another_clock_end_nothing(stamp: int) -> None:
    one = odd([said("a", sent_ns=stamp), said("b", sent_ns=stamp), STOP])
    assert one.record.n_pieces == 2 or one.record.outcome == "bad-stream"
    assert not one.reads.sent_us


def test_a_packed_reply_is_named() -> None:
    one = odd([said("a"), STOP], headers="Content-Type: text/event-stream\r\nContent-Encoding: gzip")
    assert (one.record.outcome, "gzip" in one.record.message) == ("bad-stream", True)


def test_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    with Server(Dials(ttft_ms=20, gap_ms=1, tokens=10), tls=context) as server:
        (stranger,) = drive(server.address, call("a"))
        assert stranger.record.outcome == "tls"
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        (known,) = drive(server.address, call("a"))
    assert (known.record.outcome, known.record.n_output) == ("ok", 10)


def stopping(url: str, presses: int, **fields: Any) -> tuple[list[Done], float]:
    """Ask for a stop while calls are under way; what came of them, and how long the rest took."""
    stop = Stop()
    done: list[Done] = []
    took = 0.0

    async def main() -> None:
        nonlocal took
        block = Block("measured", 1, Plan(tuple(call(f"c{n}", max_tokens=400) for n in range(50)), 4))
        running = asyncio.create_task(Drive(sender(url, **fields), block, done.append, stop=stop).run())
        await asyncio.sleep(0.15)
        started = time.perf_counter()
        for _ in range(presses):
            stop.ask()
        await running
        took = time.perf_counter() - started

    asyncio.run(main())
    return done, took


def test_a_kind_stop_lets_calls_under_way_finish(served: Callable[..., Server]) -> None:
    done, _ = stopping(served(tokens=400).address, presses=1)
    assert outcomes(done) == ["ok"] * 4


def test_a_second_stop_cuts_them_and_keeps_what_came(served: Callable[..., Server]) -> None:
    server = served(tokens=400, gap_ms=50)
    done, _ = stopping(server.address, presses=2)
    assert outcomes(done) == ["cancelled"] * 4
    assert all(one.record.n_pieces > 0 for one in done)
    deadline = time.monotonic() + 5
    while server.stats()["active"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.stats()["cancelled"] == 4


def test_a_stop_has_an_end_even_when_the_server_has_none(
    served: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "GRACE_S", 0.1)
    done, _ = stopping(served(faults="stall").address, presses=1, limits=Limits())
    assert outcomes(done) == ["cancelled"] * 4


def test_the_live_view_counts_what_has_come(served: Callable[..., Server]) -> None:
    seen: list[Live] = []
    block = Block("measured", 1, Plan((call("a", max_tokens=300),), 1))

    async def main(url: str) -> None:
        await Drive(sender(url), block, lambda one: None, seen.append).run()

    asyncio.run(main(served(tokens=300, gap_ms=3).address))
    assert [live.total for live in seen] == [1] * len(seen)
    counts = [live.tokens for live in seen]
    assert counts == sorted(counts)
    assert any(0 < count < 300 for count in counts)
    assert len(seen) <= 12  # five a second, whatever came
    assert all(live.at_ns for live in seen)
    assert [live.lag_ns for live in seen] == sorted(live.lag_ns for live in seen)  # the worst so far


def test_the_live_view_shows_the_calls_under_way(served: Callable[..., Server]) -> None:
    told: list[Event] = []
    block = Block("measured", 1, Plan((call("a", max_tokens=200), call("b", max_tokens=200)), 2))

    async def main(url: str) -> None:
        await Drive(sender(url), block, lambda one: None, Seen(7, block, Later(), told.append).tick).run()

    asyncio.run(main(served(tokens=200, gap_ms=4, ttft_ms=300).address))
    ticks = [each for each in told if isinstance(each, Ticked)]
    both = [each for each in ticks if len(each.under_way) == 2]
    assert {way.name for each in both for way in each.under_way} == {"a", "b"}
    assert {way.lane for each in both for way in each.under_way} == {0, 1}
    waiting = [way for each in both for way in each.under_way if way.first_ns is None]
    assert waiting
    assert not any(way.pieces for way in waiting)
    decoding = [way for each in both for way in each.under_way if way.first_ns is not None]
    assert decoding
    assert all(way.sched_ns <= way.send_ns < (way.first_ns or 0) and way.pieces for way in decoding)
    assert all(each.at_ns >= way.send_ns for each in both for way in each.under_way)


def test_the_nonce_begins_the_prompt_and_differs_from_call_to_call() -> None:
    target = sender("http://127.0.0.1:1", nonce=lambda salt: f"<{salt}>")
    first, second = (target.request(call(name)).partition(b"\r\n\r\n")[2] for name in ("a", "b"))
    assert msgspec.json.decode(first)["messages"][0]["content"] == "<a>\nBe short."
    assert msgspec.json.decode(second)["messages"][0]["content"] == "<b>\nBe short."
    assert msgspec.json.decode(first)["messages"][1] == {"role": "user", "content": "Which of them is it?"}


def test_the_body_holds_what_it_promises_and_nothing_else() -> None:
    body = msgspec.json.decode(sender("http://127.0.0.1:1").request(call("a")).partition(b"\r\n\r\n")[2])
    assert set(body) == {"model", "messages", "stream", "max_tokens", "temperature", "stream_options"}
    left = sender("http://127.0.0.1:1", without={"stream_options", "max_tokens"})
    body = msgspec.json.decode(left.request(call("a")).partition(b"\r\n\r\n")[2])
    assert set(body) == {"model", "messages", "stream", "temperature", "max_completion_tokens"}


def test_the_time_left_is_of_all_servers_and_says_where_it_cannot_know() -> None:
    profiles = tuple(
        Profile(kind="openai", name=name, address=f"http://127.0.0.1:{port}")
        for name, port in zip("abc", (1, 2, 3), strict=True)
    )
    asked = Asked(servers=profiles, scenario="single", params=Params(rounds=3))
    first, second, third = turns = [Turn(asked, profile, scenario("single")) for profile in profiles]
    for turn, left, round_s in ((first, 1, 2.0), (second, 2, 10.0), (third, 2, None)):
        turn.rounds_left, turn.round_s = left, round_s
    assert later(first, turns) == Later(rounds=1, others_s=20.0, least=True)
    third.failed = "it is gone"
    assert later(first, turns) == Later(rounds=1, others_s=20.0, least=False)
    told: list[Event] = []
    seen = Seen(1, Block("measured", 1, Plan((call("a", max_tokens=10),), 1)), later(first, turns), told.append)
    counts = {"total": 4, "sent": 2, "ended": 1, "active": 1, "failed": 0, "tokens": 0}
    seen.tick(Live(**counts, elapsed_ns=3 * 10**9, at_ns=1, lag_ns=0, flights=[]))
    (tick,) = told
    assert isinstance(tick, Ticked)
    assert tick.left_s == 9 + 12 + 20  # of this round, of the next one, of the other server
    assert not tick.left_least

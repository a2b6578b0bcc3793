"""The mock server on the wire: raw sockets, so that no client's mercy hides what it sends."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

from infertui.errors import UsageError
from infertui.mock import FAULTS, WIDE_WORDS, WORDS, Dials, Server, dial, sentences, words

MS = 1_000_000
QUICK = Dials(ttft_ms=4, gap_ms=2, tokens=6, fault_after=3)
CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "one two three"}], "stream": True}
USAGE = {"stream_options": {"include_usage": True}}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(QUICK) as server:
        yield server


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes  # without HTTP chunking
    chunks: list[bytes]
    end: str  # complete, fin, reset, timeout


def connect(server: Server) -> socket.socket:
    sock = socket.create_connection((server.host, server.port), timeout=5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def request(path: str, body: object, headers: str = "") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: mock\r\n{headers}Content-Length: {len(data)}\r\n\r\n".encode() + data


def received(sock: socket.socket, enough: bytes = b"", timeout: float = 5) -> tuple[bytes, str]:
    """All bytes until the end of the connection, or until `enough` came."""
    sock.settimeout(timeout)
    parts: list[bytes] = []
    while not (enough and parts and enough in b"".join(parts[-2:])):
        try:
            data = sock.recv(1 << 20)
        except ConnectionResetError:
            return b"".join(parts), "reset"
        except TimeoutError:
            return b"".join(parts), "timeout"
        if not data:
            return b"".join(parts), "fin"
        parts.append(data)
    return b"".join(parts), "enough"


def parsed(raw: bytes, end: str) -> Reply:
    if not raw:
        return Reply(0, {}, b"", [], end)
    head, _, rest = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    chunks: list[bytes] = []
    if headers.get("transfer-encoding") == "chunked":
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            try:
                length = int(size, 16)
            except ValueError:
                return Reply(int(lines[0].split()[1]), headers, b"".join(chunks), chunks, "bad chunk")
            if length == 0:
                end = "complete"
                break
            chunks.append(rest[:length])
            rest = rest[length + 2 :]
        rest = b"".join(chunks)
    elif "content-length" in headers and len(rest) == int(headers["content-length"]):
        end = "complete"
    return Reply(int(lines[0].split()[1]), headers, rest, chunks, end)


def ask(
    server: Server, path: str = CHAT, timeout: float = 5, headers: str = "Connection: close\r\n", **body: Any
) -> Reply:
    with connect(server) as sock:
        sock.sendall(request(path, {**ASK, "prompt": "one two three", **body}, headers))
        return parsed(*received(sock, timeout=timeout))


def lines(reply: Reply) -> list[Any]:
    """The `data:` lines' objects, "[DONE]" as it is."""
    found = [line[6:] for line in reply.body.split(b"\n\n") if line.startswith(b"data: ")]
    return ["[DONE]" if line == b"[DONE]" else json.loads(line) for line in found]


def rows(reply: Reply) -> list[Any]:
    return [json.loads(line) for line in reply.body.splitlines()]


def stamped(objects: list[Any]) -> list[Any]:
    return [one for one in objects if one != "[DONE]" and "sent_ns" in one]


def content(objects: list[Any], field: str = "content") -> str:
    return "".join(one["choices"][0]["delta"].get(field) or "" for one in stamped(objects))


def stats(server: Server) -> Any:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
    connection.request("GET", "/mock/stats")
    found = json.loads(connection.getresponse().read())
    connection.close()
    return found


def eventually(condition: Any) -> bool:
    end = time.monotonic() + 5
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


# -- shapes ------------------------------------------------------------------------------------------------------------


def test_chat_stream(server: Server) -> None:
    reply = ask(server, **USAGE)
    assert (reply.status, reply.end) == (200, "complete")
    assert reply.headers["server"] == "infertui-mock"
    assert reply.headers["content-type"] == "text/event-stream"
    role, *tokens, finish, usage, done = lines(reply)
    assert role["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
    assert "sent_ns" not in role
    assert [one["choices"][0]["delta"] for one in tokens] == [{"content": word} for word in WORDS[:6]]
    assert {one["object"] for one in tokens} == {"chat.completion.chunk"}
    assert len({one["id"] for one in (role, *tokens, finish, usage)}) == 1
    assert finish["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert usage["choices"] == []
    assert usage["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 6,
        "total_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert done == "[DONE]"


def test_no_usage_unless_asked(server: Server) -> None:
    assert all("usage" not in one for one in lines(ask(server)) if one != "[DONE]")
    finish = lines(ask(server, mock={"usage": "with_finish"}))[-2]
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert finish["usage"]["completion_tokens"] == 6
    assert b"usage" not in ask(server, mock={"usage": "none"}, **USAGE).body


def test_timings_come_from_the_schedule(server: Server) -> None:
    reply = ask(server, mock={"timings": True, "cached_tokens": 2, "gap_ms": 4}, **USAGE)
    timings = lines(reply)[-2]["timings"]
    assert (timings["cache_n"], timings["prompt_n"], timings["prompt_ms"]) == (2, 1, 4)
    assert (timings["predicted_n"], timings["predicted_ms"], timings["predicted_per_second"]) == (6, 20, 250)


def test_chat_whole(server: Server) -> None:
    reply = ask(server, stream=False, max_tokens=4)
    assert reply.headers["content-type"] == "application/json"
    whole = json.loads(reply.body)
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": " the model reads a"}
    assert whole["choices"][0]["finish_reason"] == "length"
    assert whole["usage"]["completion_tokens"] == 4
    assert whole["sent_ns"] >= whole["due_ns"]


def test_limits_cap_the_answer(server: Server) -> None:
    for path, body in (
        (CHAT, {"max_tokens": 2}),
        (CHAT, {"max_completion_tokens": 2}),
        ("/v1/completions", {"max_tokens": 2}),
        ("/completion", {"n_predict": 2}),
    ):
        assert len(stamped(lines(ask(server, path, **body)))) == 2
    assert len(stamped(lines(ask(server, max_tokens=50)))) == 6
    assert len(stamped(lines(ask(server, "/completion", n_predict=-1)))) == 6


def test_chunks_of_several_tokens_and_reasoning(server: Server) -> None:
    reply = ask(server, mock={"tokens": 5, "per_chunk": 2, "reasoning": 3, "role_first": False}, **USAGE)
    deltas = [one["choices"][0]["delta"] for one in stamped(lines(reply))]
    assert deltas == [
        {"role": "assistant", "reasoning_content": " the model"},
        {"reasoning_content": " reads"},
        {"content": " the model"},
        {"content": " reads a"},
        {"content": " long"},
    ]
    usage = lines(reply)[-2]["usage"]
    assert usage["completion_tokens"] == 8
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 3}
    other = ask(server, mock={"tokens": 1, "reasoning": 1, "reasoning_field": "reasoning", "role_null": True})
    assert lines(other)[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert content(lines(other), "reasoning") == " the"


def test_tool_call(server: Server) -> None:
    tools = [{"type": "function", "function": {"name": "weather"}}]
    reply = ask(server, mock={"tool_call": True, "tokens": 3}, tools=tools)
    calls = [one["choices"][0]["delta"]["tool_calls"][0] for one in stamped(lines(reply))]
    assert calls[0]["function"]["name"] == "weather"
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"text": words(3)}
    assert lines(reply)[-2]["choices"][0]["finish_reason"] == "tool_calls"
    message = json.loads(ask(server, stream=False, mock={"tool_call": True, "tokens": 3}).body)["choices"][0]["message"]
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"text": words(3)}
    (row, last) = rows(ask(server, "/api/chat", mock={"tool_call": True, "tokens": 3}))
    assert row["message"]["tool_calls"][0]["function"]["arguments"] == {"text": words(3)}
    assert last["done"] is True


def test_completions(server: Server) -> None:
    *tokens, finish, usage, done = lines(ask(server, "/v1/completions", **USAGE))
    assert "".join(one["choices"][0]["text"] for one in tokens) == words(6)
    assert {one["object"] for one in tokens} == {"text_completion"}
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"]["prompt_tokens"] == 3
    assert done == "[DONE]"
    assert json.loads(ask(server, "/v1/completions", stream=False).body)["choices"][0]["text"] == words(6)


def test_native_completion(server: Server) -> None:
    reply = ask(server, "/completion", n_predict=4)
    *tokens, last = lines(reply)
    assert [one["content"] for one in tokens] == list(WORDS[:4])
    assert [one["tokens_predicted"] for one in tokens] == [1, 2, 3, 4]
    assert (last["stop"], last["tokens_predicted"], last["stop_type"]) == (True, 4, "limit")
    assert last["timings"]["predicted_ms"] == 6
    assert b"[DONE]" not in reply.body
    assert json.loads(ask(server, "/completion", stream=False).body)["content"] == words(6)


def test_ollama(server: Server) -> None:
    with connect(server) as sock:  # without `stream` Ollama streams
        body = {"messages": ASK["messages"], "options": {"num_predict": 5}, "mock": {"reasoning": 2}}
        sock.sendall(request("/api/chat", body, "Connection: close\r\n"))
        reply = parsed(*received(sock))
    assert reply.headers["content-type"] == "application/x-ndjson"
    *tokens, last = rows(reply)
    assert [one["message"].get("thinking", "") for one in tokens] == [" the", " model", "", "", ""]
    assert [one["message"]["content"] for one in tokens] == ["", "", " the", " model", " reads"]
    assert (last["done"], last["done_reason"], last["eval_count"]) == (True, "length", 5)
    assert (last["prompt_eval_duration"], last["eval_duration"]) == (4 * MS, 8 * MS)
    *tokens, last = rows(ask(server, "/api/generate"))
    assert "".join(one["response"] for one in tokens) == words(6)
    assert last["prompt_eval_count"] == 3
    whole = json.loads(ask(server, "/api/generate", stream=False).body)
    assert (whole["response"], whole["done"]) == (words(6), True)


def test_facts(server: Server) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=5)

    def get(path: str) -> tuple[int, Any]:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    assert get("/health") == (200, {"status": "ok"})
    assert get("/v1/models")[1]["data"][0]["owned_by"] == "infertui-mock"
    assert "build_info" in get("/props")[1]
    assert get("/api/version")[0] == 404
    assert get("/nope")[0] == 404
    connection.close()


# -- schedule ----------------------------------------------------------------------------------------------------------


def test_the_schedule_is_absolute(server: Server) -> None:
    before = time.perf_counter_ns()
    tokens = stamped(lines(ask(server, mock={"ttft_ms": 30, "gap_ms": 7.5, "tokens": 5})))
    dues = [one["due_ns"] for one in tokens]
    assert [due - dues[0] for due in dues] == [0, 7_500_000, 15_000_000, 22_500_000, 30_000_000]
    assert all(one["sent_ns"] >= one["due_ns"] for one in tokens)
    assert before + 30 * MS <= dues[0] <= time.perf_counter_ns()


def test_every_api_has_the_schedule(server: Server) -> None:
    for path in (CHAT, "/v1/completions", "/completion"):
        tokens = stamped(lines(ask(server, path)))
        assert [one["due_ns"] - tokens[0]["due_ns"] for one in tokens] == [0, 2 * MS, 4 * MS, 6 * MS, 8 * MS, 10 * MS]
    for path in ("/api/chat", "/api/generate"):
        tokens = stamped(rows(ask(server, path)))
        assert [one["due_ns"] - tokens[0]["due_ns"] for one in tokens] == [0, 2 * MS, 4 * MS, 6 * MS, 8 * MS, 10 * MS]


def test_reads_come_after_sends(server: Server) -> None:
    with connect(server) as sock:
        sock.sendall(request(CHAT, {**ASK, "mock": {"gap_ms": 20}}))
        for _ in range(3):
            data, _ = received(sock, b"due_ns")
            read = time.perf_counter_ns()
            sent = int(data.rpartition(b'"sent_ns":')[2].partition(b",")[0])
            assert 0 < read - sent < 2_000 * MS


def test_slots_are_first_come_first_served() -> None:
    with Server(Dials(ttft_ms=10, gap_ms=1, tokens=3, slots=2)) as server:
        socks = []
        for _ in range(6):
            sock = connect(server)
            sock.sendall(request(CHAT, ASK, "Connection: close\r\n"))
            socks.append(sock)
            expected = len(socks)
            assert eventually(lambda expected=expected: stats(server)["requests"] == expected)
        firsts = [stamped(lines(parsed(*received(sock))))[0]["due_ns"] for sock in socks]
        for sock in socks:
            sock.close()
        assert firsts == sorted(firsts)
        found = stats(server)
    assert (found["most_at_once"], found["waiting"], found["active"], found["requests"]) == (2, 0, 0, 6)
    assert found["cancelled"] == 0


@pytest.mark.parametrize("when", ["start", "at_once", "first_token"])
def test_headers(when: str) -> None:
    dials = dial(Dials(ttft_ms=80, gap_ms=1, tokens=2, slots=1), {"headers": when})
    with Server(dials) as server, connect(server) as first, connect(server) as second:
        first.sendall(request(CHAT, ASK, "Connection: close\r\n"))
        assert eventually(lambda: stats(server)["active"] == 1)
        second.sendall(request(CHAT, ASK, "Connection: close\r\n"))
        raw = [received(sock, b"\r\n\r\n")[0] for sock in ((second, first) if when == "at_once" else (first, second))]
        now = stats(server)
        if when == "at_once":  # the second had its headers while it waited
            assert now["active"] == 1
            assert now["waiting"] == 1
        assert [one.startswith(b"HTTP/1.1 200 OK\r\n") for one in raw] == [True, True]
        if when == "start":  # the second's came when the first had gone
            assert (now["active"], now["waiting"], now["chunks"]) == (1, 0, 2)
        if when == "first_token":
            assert now["chunks"] >= 3


def test_comments_come_before_the_first_token(server: Server) -> None:
    body = ask(server, mock={"comments": 3}).body
    places = [body.index(b": keepalive %d/3\n\n" % n) for n in (1, 2, 3)]
    assert places == sorted(places)
    assert places[-1] < body.index(b"sent_ns")


def test_late_usage_is_delayed(server: Server) -> None:
    with connect(server) as sock:
        sock.sendall(request(CHAT, {**ASK, **USAGE, "mock": {"usage_delay_ms": 60}}, "Connection: close\r\n"))
        received(sock, b'"stop"')
        start = time.perf_counter()
        rest, _ = received(sock)
        assert b'"usage"' in rest
        assert time.perf_counter() - start > 0.03


# -- connections -------------------------------------------------------------------------------------------------------


def test_keep_alive_serves_again_and_then_really_closes() -> None:
    with Server(msgspec.structs.replace(QUICK, keepalive_s=0.2)) as server, connect(server) as sock:
        for _ in range(2):
            sock.sendall(request(CHAT, ASK))
            raw, end = received(sock, b"\r\n0\r\n\r\n")
            assert end == "enough"
            assert b"Keep-Alive: timeout=0\r\n" in raw
        start = time.monotonic()
        assert received(sock) == (b"", "fin")
        assert 0.1 < time.monotonic() - start < 3
        assert stats(server)["connections_open"] == 1  # the one that asks


def test_no_keep_alive(server: Server) -> None:
    reply = ask(server, headers="", mock={"keepalive_s": 0})
    assert reply.headers["connection"] == "close"
    assert reply.end == "complete"


def test_http10(server: Server) -> None:
    with connect(server) as sock:
        sock.sendall(request(CHAT, {**ASK, "mock": {"http10": True}}))
        raw, end = received(sock)
    assert raw.startswith(b"HTTP/1.0 200 OK\r\n")
    assert end == "fin"
    reply = parsed(raw, end)
    assert "transfer-encoding" not in reply.headers
    assert content(lines(reply)) == words(6)
    assert lines(reply)[-1] == "[DONE]"


def test_a_client_that_leaves_frees_its_slot() -> None:
    with Server(Dials(ttft_ms=60_000, slots=1)) as server:
        first, second = connect(server), connect(server)
        first.sendall(request(CHAT, ASK))
        assert eventually(lambda: stats(server)["active"] == 1)
        second.sendall(
            request(CHAT, {**ASK, "mock": {"ttft_ms": 1, "gap_ms": 1, "tokens": 2}}, "Connection: close\r\n")
        )
        assert eventually(lambda: stats(server)["waiting"] == 1)
        first.close()
        assert content(lines(parsed(*received(second)))) == words(2)
        second.close()
        assert eventually(lambda: stats(server)["active"] == 0)
        assert stats(server)["cancelled"] == 1


def test_a_client_that_leaves_while_waiting() -> None:
    with Server(Dials(ttft_ms=60_000, slots=1)) as server:
        first, second = connect(server), connect(server)
        first.sendall(request(CHAT, ASK))
        assert eventually(lambda: stats(server)["active"] == 1)
        second.sendall(request(CHAT, ASK))
        assert eventually(lambda: stats(server)["waiting"] == 1)
        second.close()
        assert eventually(lambda: stats(server)["waiting"] == 0)
        assert stats(server)["active"] == 1
        first.close()
        assert eventually(lambda: stats(server)["cancelled"] == 2)


def test_a_slow_reader_holds_up_nobody(server: Server) -> None:
    with connect(server) as slow:
        slow.sendall(
            request(CHAT, {**ASK, "mock": {"faults": "giant-line", "fault_after": 0}}, "Connection: close\r\n")
        )
        received(slow, b"HTTP")
        assert content(lines(ask(server))) == words(6)
        raw, _ = received(slow)
        assert len(raw) > 31 << 20


def test_requests_in_pieces_and_pipelined(server: Server) -> None:
    with connect(server) as sock:
        raw = request(CHAT, ASK, "Connection: close\r\n")
        for at in range(0, len(raw), 40):
            sock.sendall(raw[at : at + 40])
            time.sleep(0.001)
        assert content(lines(parsed(*received(sock)))) == words(6)
    with connect(server) as sock:  # a second request while the first is answered waits for its turn
        sock.sendall(request(CHAT, ASK))
        received(sock, b"role")
        sock.sendall(request(CHAT, ASK, "Connection: close\r\n"))
        raw, _ = received(sock)
        assert raw.count(b"[DONE]") == 2


def test_expect_continue(server: Server) -> None:
    with connect(server) as sock:
        head, _, body = request(CHAT, ASK, "Connection: close\r\nExpect: 100-continue\r\n").partition(b"\r\n\r\n")
        sock.sendall(head + b"\r\n\r\n")
        assert received(sock, b"\r\n\r\n")[0] == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert parsed(*received(sock)).status == 200


# -- refusals ----------------------------------------------------------------------------------------------------------


def message(reply: Reply) -> str:
    return str(json.loads(reply.body)["error"]["message"])


def test_bad_requests(server: Server) -> None:
    for body, said in (
        (b'{"messages": [}', "malformed JSON"),
        (b'{"messages": ["\xff"]}', "malformed JSON"),
        (b"[" * 100_000, "malformed JSON"),
        (b'{"messages": %b%b}' % (b"[" * 900, b"]" * 900), "nested too deeply"),
        (b"[]", "no JSON object"),
        (b"{}", "'messages' is required"),
        (b'{"messages": [1], "max_tokens": "many"}', "'max_tokens' is no whole number"),
        (b'{"messages": [1], "mock": 3}', "no object of dials"),
    ):
        with connect(server) as sock:
            sock.sendall(request(CHAT, body, "Connection: close\r\n"))
            reply = parsed(*received(sock))
        assert reply.status == 400
        assert said in message(reply)
    assert ask(server, "/nope").status == 404
    with connect(server) as sock:
        sock.sendall(b"what is this\r\n\r\n")
        assert parsed(*received(sock)).status == 400


def test_too_large(server: Server) -> None:
    with connect(server) as sock:
        sock.sendall(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 16777217\r\n\r\n" % CHAT.encode())
        assert parsed(*received(sock)).status == 413


def test_prompt_beyond_the_context(server: Server) -> None:
    reply = ask(server, mock={"context": 2})
    assert reply.status == 400
    assert json.loads(reply.body)["error"]["type"] == "exceed_context_size_error"


def test_rejected_fields(server: Server) -> None:
    reply = ask(server, mock={"reject": ["stream_options"]}, **USAGE)
    assert (reply.status, message(reply)) == (400, "Unrecognized request argument supplied: stream_options")


def test_api_key() -> None:
    with Server(msgspec.structs.replace(QUICK, api_key="secret")) as server:
        assert ask(server).status == 401
        assert ask(server, headers="Authorization: Bearer wrong\r\nConnection: close\r\n").status == 401
        assert ask(server, headers="Authorization: Bearer secret\r\nConnection: close\r\n").status == 200


# -- dials -------------------------------------------------------------------------------------------------------------


def test_dials_by_request(server: Server) -> None:
    assert content(lines(ask(server, mock={"tokens": 2}))) == words(2)
    reply = ask(server, model="mock?tokens=3&gap_ms=1.5")
    assert content(lines(reply)) == words(3)
    tokens = stamped(lines(reply))
    assert tokens[1]["due_ns"] - tokens[0]["due_ns"] == 1_500_000


def test_a_wrong_dial_is_told(server: Server) -> None:
    for body, said in (
        ({"mock": {"ttft": 5}}, "no dial is called 'ttft' (did you mean ttft_ms?)"),
        ({"mock": {"gap_ms": -1}}, "gap_ms=-1 is not a number from 0 to"),
        ({"mock": {"usage": "later"}}, "usage='later' is not one of late, with_finish, none"),
        ({"model": "mock?faults=rset"}, "no fault is called 'rset' (did you mean reset?)"),
        ({"model": "mock?tokens=1&tokens=2"}, "named twice"),
    ):
        reply = ask(server, **body)
        assert reply.status == 400
        assert said in message(reply)
        assert "\n" not in message(reply)


def test_dial_converts_text() -> None:
    dials = dial(QUICK, {"ttft_ms": "50", "http10": "true", "faults": "reset, close", "tokens": "3", "slots": 2})
    assert (dials.ttft_ms, dials.http10, dials.faults, dials.tokens, dials.slots) == (
        50.0,
        True,
        ("reset", "close"),
        3,
        2,
    )
    assert dials.gap_ms == QUICK.gap_ms
    for wrong in ({"tokens": "1.5"}, {"ttft_ms": "nan"}, {"http10": "maybe"}, {"per_chunk": 0}, {"tokens": True}):
        with pytest.raises(UsageError):
            dial(QUICK, wrong)
    with pytest.raises(UsageError):
        Dials(faults=("nope",))
    assert set(sentences()) == set(Dials.__struct_fields__)
    assert all(sentence.endswith(".") for sentence in (*sentences().values(), *FAULTS.values()))


def test_port_in_use(server: Server) -> None:
    with pytest.raises(UsageError, match="cannot listen on 127"):
        Server(QUICK, port=server.port).open()
    with pytest.raises(UsageError, match="cannot listen on"):
        Server(QUICK, host="203.0.113.1").open()


# -- faults ------------------------------------------------------------------------------------------------------------


def fault(server: Server, name: str, path: str = CHAT, timeout: float = 5, **more: Any) -> Reply:
    return ask(server, path, timeout, mock={"faults": [name]}, **more)


def test_faults_take_turns() -> None:
    with Server(msgspec.structs.replace(QUICK, faults=("500", "503"), fault_every=2)) as server:
        assert [ask(server).status for _ in range(8)] == [200, 500, 200, 503, 200, 500, 200, 503]


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("500", 500, b'"server_error"'),
        ("429", 429, b'"rate_limit_error"'),
        ("503", 503, b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'),
        ("400", 400, b'"invalid_request_error"'),
        ("html", 502, b"<html>"),
        ("html-200", 200, b"<html>"),
    ],
)
def test_fault_status(server: Server, name: str, status: int, text: bytes) -> None:
    reply = fault(server, name)
    assert reply.status == status
    assert text in reply.body
    assert ("retry-after" in reply.headers) is (name == "429")
    assert reply.headers["content-type"] == ("text/html" if "html" in name else "application/json")


def test_fault_refuse(server: Server) -> None:
    with connect(server) as sock:
        sock.sendall(request(CHAT, {**ASK, "mock": {"faults": "refuse", "refuse_ms": 250}}))
        assert received(sock) == (b"", "reset")
    with pytest.raises(ConnectionRefusedError):
        connect(server)

    def back() -> bool:
        try:
            connect(server).close()
        except ConnectionRefusedError:
            return False
        return True

    assert eventually(back)
    assert content(lines(ask(server))) == words(6)


def test_fault_reset(server: Server) -> None:
    reply = fault(server, "reset")
    assert reply.end == "reset"
    assert content(lines(reply)) == words(3)
    assert fault(server, "reset", stream=False).end == "reset"


def test_fault_reset_early(server: Server) -> None:
    with connect(server) as sock:
        sock.sendall(request(CHAT, {**ASK, "mock": {"faults": "reset-early"}}))
        assert received(sock) == (b"", "reset")


def test_fault_close(server: Server) -> None:
    reply = fault(server, "close")
    assert reply.end == "fin"
    assert content(lines(reply)) == words(3)
    assert fault(server, "close", stream=False).end == "fin"


@pytest.mark.parametrize(("name", "tokens"), [("stall", 3), ("stall-first", 0)])
def test_fault_stall(server: Server, name: str, tokens: int) -> None:
    before = stats(server)["cancelled"]
    reply = fault(server, name, timeout=0.2)
    assert (reply.status, reply.end) == (200, "timeout")
    assert len(stamped(lines(reply))) == tokens
    assert eventually(lambda: stats(server)["cancelled"] == before + 1)


def test_fault_silent(server: Server) -> None:
    with connect(server) as sock:
        sock.sendall(request(CHAT, {**ASK, "mock": {"faults": "silent"}}))
        assert received(sock, timeout=0.2) == (b"", "timeout")


def test_fault_half_utf8(server: Server) -> None:
    reply = fault(server, "half-utf8")
    assert reply.end == "complete"
    assert content(lines(reply)) == words(6, wide=True) == "".join(WIDE_WORDS[:6])
    broken = 0
    for chunk in reply.chunks:
        try:
            chunk.decode()
        except UnicodeDecodeError:
            broken += 1
    assert broken == 2 * 5  # of the six words one is plain
    whole = json.loads(fault(server, "half-utf8", stream=False).body)
    assert whole["choices"][0]["message"]["content"] == words(6, wide=True)


def test_fault_half_utf8_json(server: Server) -> None:
    reply = fault(server, "half-utf8-json")
    texts = [line.split(b'"content":"')[1].split(b'"}')[0] for line in reply.body.split(b"\n\n") if b"sent_ns" in line]
    assert len(texts) == 6
    assert b"".join(texts).decode() == words(6, wide=True)
    with pytest.raises(UnicodeDecodeError):
        texts[0].decode()


def test_fault_giant_line(server: Server) -> None:
    reply = fault(server, "giant-line")
    longest = max(reply.body.split(b"\n\n"), key=len)
    assert len(longest) >= 32 << 20
    assert content(lines(reply)) == words(6)
    assert reply.end == "complete"


def test_fault_error_in_stream(server: Server) -> None:
    reply = fault(server, "error-in-stream")
    objects = lines(reply)
    assert (reply.status, reply.end) == (200, "complete")
    assert "error" in objects[-1]
    assert content(objects[:-1]) == words(3)
    assert "error" in rows(fault(server, "error-in-stream", "/api/chat"))[-1]


def test_fault_no_done(server: Server) -> None:
    reply = fault(server, "no-done")
    assert lines(reply)[-1]["choices"][0]["finish_reason"] == "stop"
    assert reply.end == "complete"
    assert not any(row["done"] for row in rows(fault(server, "no-done", "/api/chat")))


def test_fault_no_finish(server: Server) -> None:
    objects = lines(fault(server, "no-finish"))
    assert objects.pop() == "[DONE]"
    assert all(one["choices"][0]["finish_reason"] is None for one in objects)


def test_fault_no_usage(server: Server) -> None:
    assert b"usage" not in fault(server, "no-usage", **USAGE).body
    assert b"eval_count" not in fault(server, "no-usage", "/api/chat").body


def test_fault_bad_json(server: Server) -> None:
    reply = fault(server, "bad-json")
    events = [line[6:] for line in reply.body.split(b"\n\n") if line.startswith(b"data: {")]
    bad = [event for event in events if not event.endswith(b"}")]
    assert len(bad) == 1
    assert events.index(bad[0]) == 4  # a role, three tokens
    assert reply.body.count(b"sent_ns") == 6


def test_fault_bad_chunk(server: Server) -> None:
    reply = fault(server, "bad-chunk")
    assert reply.end == "bad chunk"
    assert reply.body.count(b"sent_ns") == 3
    assert fault(server, "bad-chunk", stream=False).end == "bad chunk"


def test_fault_slow_drip(server: Server) -> None:
    before = time.perf_counter()
    with connect(server) as sock:
        sock.sendall(
            request("/api/generate", {"prompt": "a", "mock": {"faults": "slow-drip"}}, "Connection: close\r\n")
        )
        sizes: list[int] = []
        parts: list[bytes] = []
        while data := sock.recv(1 << 16):
            sizes.append(len(data))
            parts.append(data)
    assert sizes.count(1) > 100
    assert time.perf_counter() - before > 0.2
    tokens = stamped(rows(parsed(b"".join(parts), "fin")))
    assert "".join(one["response"] for one in tokens) == words(6)
    assert all(one["sent_ns"] >= one["due_ns"] for one in tokens)


def test_fault_empty(server: Server) -> None:
    reply = fault(server, "empty", **USAGE)
    role, finish, usage, done = lines(reply)
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"]["completion_tokens"] == 0
    assert (role["choices"][0]["delta"]["role"], done) == ("assistant", "[DONE]")


def test_fault_header_flood(server: Server) -> None:
    with connect(server) as sock:
        sock.sendall(request(CHAT, {**ASK, "mock": {"faults": "header-flood"}}, "Connection: close\r\n"))
        raw, end = received(sock)
    assert raw.index(b"\r\n\r\n") > 2 << 20
    assert content(lines(parsed(raw, end))) == words(6)


@pytest.mark.parametrize("name", sorted(set(FAULTS) - {"slow-drip", "refuse", "giant-line"}))
@pytest.mark.parametrize("more", [{"headers": "first_token"}, {"http10": True}, {"fault_after": 50}, {"tokens": 0}])
def test_no_combination_harms_the_server(server: Server, name: str, more: dict[str, object]) -> None:
    for stream in (True, False):
        ask(server, timeout=0.03, stream=stream, mock={"faults": name, **more})
    assert content(lines(ask(server))) == words(6)


def test_nothing_is_left_behind(server: Server) -> None:
    assert eventually(lambda: stats(server)["connections_open"] == 1)
    assert stats(server)["active"] == 0
    assert stats(server)["late_p99_us"] >= 0


def test_a_reset_by_the_client_is_survived(server: Server) -> None:
    sock = connect(server)
    sock.sendall(request(CHAT, {**ASK, "mock": {"tokens": 1000, "gap_ms": 0}}))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    assert content(lines(ask(server))) == words(6)
    assert eventually(lambda: stats(server)["active"] == 0)


def test_tls() -> None:
    import ssl

    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    with Server(QUICK, tls=context) as server:
        assert server.address.startswith("https://")
        with client.wrap_socket(connect(server), server_hostname="localhost") as sock:
            sock.sendall(request(CHAT, {**ASK, "padding": "x" * 200_000}, "Connection: close\r\n"))
            assert content(lines(parsed(*received(sock)))) == words(6)
        with client.wrap_socket(connect(server), server_hostname="localhost") as sock:
            sock.sendall(request(CHAT, {**ASK, "mock": {"faults": "giant-line"}}, "Connection: close\r\n"))
            assert len(received(sock)[0]) > 32 << 20

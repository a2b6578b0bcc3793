"""Bytes of real servers to tokens and stamps: any way of cutting them up gives the same."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import socket
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infertui import __version__
from infertui.client import record, stream
from infertui.client.api import CHAT, COMPLETIONS, NATIVE, Api, take_whole
from infertui.client.record import Done, Flight
from infertui.client.stream import BadStream, Decoder, Reads, Reply, error_text
from infertui.client.wire import Connection, Exchange, Limits, Target
from infertui.errors import UsageError
from infertui.scenario.plan import Block, Call, Message, Plan, Prompt

TRANSCRIPTS = Path(__file__).parent / "transcripts"
LLAMA, OLLAMA = NATIVE["llama.cpp"], NATIVE["ollama"]


class Said(NamedTuple):
    """What a stream says, read off its file by eye."""

    pieces: int
    text: str
    prompt: int | None = None
    output: int | None = None
    cached: int | None = None
    comments: int = 0
    finish: str = "length"
    thought: str = ""
    reasoned: int | None = None
    server: dict[str, float] = {}  # noqa: RUF012
    fingerprint: str = ""


def timings(prompt_n: float, prompt_ms: float, cached_n: float, output_n: float, decode_ms: float) -> dict[str, float]:
    return {
        "prompt_n": prompt_n,
        "prompt_ms": prompt_ms,
        "cached_n": cached_n,
        "output_n": output_n,
        "decode_n": output_n - 1,
        "decode_ms": decode_ms,
    }


LONER = " about the median and it is loner."
ANCIENT = "returned useGoodat student 946ineAncientMountain 62odeage"
DARK = "dark 918HimLowered 595W pepper 416"
MLX = "0.32.2-0.32.4-Linux-6.12.48-generic-x86_64-with-glibc2.36-x86_64"
VLLM = "vllm-0.32.0-8b15ccce"

STREAMS = {
    "llama-server/chat_stream_usage": Said(
        12, LONER, 39, 12, 0, server=timings(39, 5.276, 0, 12, 6.566), fingerprint="b1-0c1e570"
    ),
    "llama-server/chat_stream_usage_raw_chunked": Said(
        6, LONER[:21], 39, 6, 38, server=timings(1, 0.851, 38, 6, 2.918), fingerprint="b1-0c1e570"
    ),
    "llama-server/chat_stream_no_usage": Said(
        6, LONER[:21], server=timings(1, 2.856, 38, 6, 10.664), fingerprint="b1-0c1e570"
    ),
    "llama-server/chat_stream_timings_per_token": Said(
        4, " about the me", server=timings(1, 2.839, 38, 4, 3.665), fingerprint="b1-0c1e570"
    ),
    "llama-server/completion_stream": Said(
        8, " 8 a and the first token t", 2, 8, 0, server=timings(2, 2.008, 0, 8, 3.726), fingerprint="b1-0c1e570"
    ),
    "llama-server/native_completion_stream": Said(
        6, " 8 a and the first", 2, finish="limit", server=timings(1, 1.536, 1, 6, 2.152)
    ),
    "xllamacpp/chat_stream_usage": Said(
        12, LONER, 39, 12, 0, server=timings(39, 18.533, 0, 12, 13.228), fingerprint="b0-unknown"
    ),
    "xllamacpp/chat_stream_usage_raw_chunked": Said(
        6, LONER[:21], 39, 6, 38, server=timings(1, 3.936, 38, 6, 11.363), fingerprint="b0-unknown"
    ),
    "xllamacpp/chat_stream_no_usage": Said(
        6, LONER[:21], server=timings(1, 0.663, 38, 6, 1.95), fingerprint="b0-unknown"
    ),
    "xllamacpp/chat_stream_timings_per_token": Said(
        4, " about the me", server=timings(1, 0.675, 38, 4, 2.875), fingerprint="b0-unknown"
    ),
    "xllamacpp/completion_stream": Said(
        8, " 8 a and the first token t", 2, 8, 0, server=timings(2, 4.199, 0, 8, 8.613), fingerprint="b0-unknown"
    ),
    "xllamacpp/native_completion_stream": Said(
        6, " 8 a and the first", 2, finish="limit", server=timings(1, 0.584, 1, 6, 1.749)
    ),
    # This server never says `usage` in a stream, whatever it is asked.
    "llama_cpp_python/chat_stream_usage": Said(12, " after it\nA generated b, 32,"),
    "llama_cpp_python/chat_stream_usage_raw_chunked": Said(6, " after it\nA g"),
    "llama_cpp_python/chat_stream_no_usage": Said(6, " after it\nA g"),
    "llama_cpp_python/chat_stream_timings_per_token": Said(4, " after it\n"),
    "llama_cpp_python/completion_stream": Said(8, " 8 a and the prompt, 3"),
    "mlx/chat_stream_usage": Said(12, ANCIENT, 24, 12, 0, comments=2, fingerprint=MLX),
    "mlx/chat_stream_nousage": Said(6, ANCIENT[:30], comments=1, fingerprint=MLX),
    "mlx/chat_stream_ignore_eos_seed": Said(6, "fore 475 closedBl wouldld", 24, 6, 23, comments=2, fingerprint=MLX),
    "mlx/completions_stream": Said(8, DARK, 5, 8, 0, comments=2, fingerprint=MLX),
    "vllm/chat_stream_usage": Said(12, " " + ANCIENT, 24, 12, fingerprint=VLLM),
    "vllm/chat_stream_nousage": Said(6, " " + ANCIENT[:30], fingerprint=VLLM),
    "vllm/chat_stream_ignore_eos_seed": Said(6, " returned useGood pepper15 co", 24, 6, fingerprint=VLLM),
    "vllm/completions_stream": Said(8, " " + DARK, 5, 8, fingerprint=VLLM),
    # 12 tokens in 11 pieces: two came in one chunk.
    "max/chat_stream_usage": Said(11, " " + ANCIENT, 24, 12, 0, reasoned=0),
    "max/chat_stream_nousage": Said(6, " " + ANCIENT[:30]),
    "max/chat_stream_ignore_eos_seed": Said(6, " returned use 378 821 closed 897", 24, 6, 0, reasoned=0),
    "max/completions_stream": Said(8, " " + DARK, 5, 8, 0, reasoned=0),
    "ollama/made_from_documents_api_chat_stream": Said(
        8,
        "The bridge é is old.",
        24,
        thought="Hm, easy.",
        # 130 − 20 − 30 − 70 ms: what no other clock claims was spent waiting
        server={
            "output_n": 8,
            "decode_n": 8,
            "total_ms": 130,
            "load_ms": 20,
            "prompt_ms": 30,
            "decode_ms": 70,
            "queue_ms": 10,
        },
    ),
}

WHOLE = {
    "llama-server/chat_nonstream": Said(1, LONER, 39, 12, 38, server=timings(1, 2.815, 38, 12, 4.983)),
    "llama-server/err_bad_model": Said(1, "A share", 39, 3, 38, server=timings(1, 3.072, 38, 3, 1.158)),
    "xllamacpp/err_bad_model": Said(1, "A scheduler", 39, 3, 38, server=timings(1, 0.765, 38, 3, 2.713)),
    "xllamacpp/chat_nonstream": Said(1, LONER, 39, 12, 38, server=timings(1, 0.52, 38, 12, 8.817)),
    "llama_cpp_python/chat_nonstream": Said(1, " after it\nA generated b, 32,", 39, 12),
    "llama_cpp_python/err_bad_model": Said(1, "Numbers sp", 39, 3),
    "mlx/chat_nonstream": Said(1, ANCIENT, 24, 12, 23),
    "vllm/chat_nonstream": Said(1, " " + ANCIENT, 24, 12),
    "max/chat_nonstream": Said(1, " " + ANCIENT, 24, 12, 0, reasoned=0),
}

LLAMA_LONG = "request (24016 tokens) exceeds the available context size (4096 tokens), try increasing it"
LLAMA_TYPE = "Field 'max_tokens': [json.exception.type_error.302] type must be number, but is string"
LLAMA_JSON = (
    "[json.exception.parse_error.101] parse error at line 1, column 29: syntax error while parsing value - "
    "unexpected '}'; expected '[', '{', or a literal"
)
MLX_MODEL = (
    "Cannot find an appropriate cached snapshot folder for the specified revision on the local disk and outgoing "
    "traffic has been disabled. To enable repo look-ups and downloads online, set 'HF_HUB_OFFLINE=0' as "
    "environment variable."
)
VLLM_MODEL = "The model `no-such-model` does not exist. Valid aliases: tiny."

ERRORS = {
    "llama-server/err_401_api_key": ("http-401", "Invalid API Key"),
    "llama-server/err_malformed_json": ("http-500", LLAMA_JSON),
    "llama-server/err_prompt_too_long": ("http-400", LLAMA_LONG),
    "llama-server/err_prompt_too_long_stream": ("http-400", LLAMA_LONG),
    "llama-server/err_unknown_route": ("http-404", "File Not Found"),
    "llama-server/err_wrong_type": ("http-400", LLAMA_TYPE),
    "llama-server/v1_models_503_while_loading": ("http-503", "Loading model"),
    "xllamacpp/err_malformed_json": ("http-400", LLAMA_JSON),
    "xllamacpp/err_prompt_too_long": ("http-400", LLAMA_LONG),
    "xllamacpp/err_prompt_too_long_stream": ("http-400", LLAMA_LONG),
    "xllamacpp/err_unknown_route": ("http-404", "File Not Found"),
    "xllamacpp/err_wrong_type": ("http-400", LLAMA_TYPE),
    "llama_cpp_python/err_malformed_json": ("http-500", "Internal Server Error"),
    "llama_cpp_python/err_prompt_too_long": (
        "http-400",
        "This model's maximum context length is 4096 tokens. However, you requested 24028 tokens (24025 in the "
        "messages, 3 in the completion). Please reduce the length of the messages or completion.",
    ),
    # status 200, text/event-stream, and not one byte of a body
    "llama_cpp_python/err_prompt_too_long_stream": ("truncated", "the reply ended without a finish reason"),
    "llama_cpp_python/err_unknown_route": ("http-404", "Not Found"),
    "llama_cpp_python/native_completion_stream": ("http-404", "Not Found"),
    "llama_cpp_python/err_wrong_type": (
        "http-500",
        "1 validation error: {'type': 'int_parsing', 'loc': ('body', 'max_tokens'), 'msg': 'Input should be a valid "
        "integer, unable to parse string as an integer', 'input': 'many'} File \"app.py\", line 376, in "
        "create_chat_completion POST /v1/chat/completions",
    ),
    "mlx/err_malformed_json": ("http-400", "Invalid JSON in request body: Expecting value: line 1 column 29 (char 28)"),
    "mlx/err_unknown_model": ("http-404", MLX_MODEL),
    "mlx/err_unknown_model_stream": ("http-404", MLX_MODEL),
    "mlx/err_unknown_route_post": ("http-404", "Not Found"),
    "mlx/err_bad_max_tokens": ("http-400", "max_tokens must be at least 1"),
    "vllm/err_malformed_json": (
        "http-400",
        "1 validation error: {'type': 'json_invalid', 'loc': 'body.28', 'msg': 'JSON decode error', 'input': '<dict "
        "of 0 items>', 'ctx': {'error': 'Expecting value'}}",
    ),
    "vllm/err_unknown_model": ("http-404", VLLM_MODEL),
    "vllm/err_unknown_model_stream": ("http-404", VLLM_MODEL),
    "vllm/err_unknown_route_post": ("http-404", "Not Found"),
    "vllm/err_ctx_overflow": (
        "http-400",
        "max_tokens=100000 cannot be greater than max_model_len=2048. Please request fewer output tokens. "
        "(parameter=max_tokens, value=100000)",
    ),
    "vllm/err_bad_max_tokens": (
        "http-400",
        "max_tokens must be at least 1, got -3. (parameter=max_tokens, value=-3)",
    ),
    "max/err_malformed_json": ("http-400", "Missing JSON."),
    "max/err_unknown_model": ("http-400", "Value error."),
    "max/err_unknown_model_stream": ("http-400", "Value error."),
    "max/err_unknown_route_post": ("http-404", "Not Found"),
    "max/err_bad_max_tokens": ("http-400", "Value error."),
}


class Transcript(NamedTuple):
    """A file taken apart: `wire` is what a socket brings, `places` where in it each byte of the body is."""

    command: str
    status: int
    headers: dict[str, str]
    body: bytes
    wire: bytes
    places: list[int]

    @property
    def api(self) -> Api:
        path = re.search(r"http://[^/ ]+(/\S*)", self.command)
        assert path
        known: dict[str, Api] = {api.path: api for api in (CHAT, COMPLETIONS, LLAMA, OLLAMA)}
        return known.get(path[1], CHAT)


def transcript(name: str) -> Transcript:
    data = (TRANSCRIPTS / f"{name}.txt").read_bytes()
    command = b"# http://127.0.0.1/v1/chat/completions"
    if data.startswith(b"#"):
        command, _, data = data.partition(b"\n")
    # the two scripts that took them ended their files in two ways
    data = re.sub(rb"(\n# curl exit|# exit) \d+\n\Z", b"", data)
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    chunked = headers.get("transfer-encoding") == "chunked"
    if chunked and b"--raw" not in command:
        body = chunks_of(body)
    start = len(head) + 4
    places = chunk_places(body) if chunked else list(range(len(body)))
    said = bytes(body[place] for place in places)
    places = [start + place for place in places]
    return Transcript(command.decode(), int(first.split()[1]), headers, said, head + b"\r\n\r\n" + body, places)


def chunks_of(body: bytes) -> bytes:
    """The chunks of HTTP that curl took off, put on again: one a line."""
    lines = body.splitlines(keepends=True)
    return b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in lines) + b"0\r\n\r\n"


def chunk_places(framed: bytes) -> list[int]:
    """Where the bytes of the body are among those of its chunks."""
    places: list[int] = []
    at = 0
    while True:
        after = framed.index(b"\r\n", at) + 2
        size = int(framed[at:after], 16)
        if not size:
            assert framed[after:] == b"\r\n"
            return places
        places += range(after, after + size)
        at = after + size + 2


def ends_of(body: bytes, sse: bool = True) -> list[int]:
    """Where the line of each token ends, found without any code of the decoder."""
    ends = []
    for line in re.finditer(rb"([^\r\n]*)(\r\n|\r|\n|\Z)", body):
        data = line[1].removeprefix(b"data: ") if sse and line[1].startswith(b"data: ") else b"" if sse else line[1]
        if data and data != b"[DONE]":
            ends += [line.end()] * texts(json.loads(data))
    return ends


def texts(chunk: dict[str, Any]) -> int:
    """How many texts that are not empty a chunk of these transcripts holds."""
    places = [chunk, chunk.get("message") or {}]
    for choice in chunk.get("choices") or ():
        places += [choice, choice.get("delta") or {}]
    return sum(bool(place.get(key)) for place in places for key in ("content", "text", "thinking"))


def everything(reply: Reply, but: Sequence[str] = ()) -> dict[str, Any]:
    values = {name: getattr(reply, name) for name in Reply.__slots__ if name not in but}
    return {
        name: list(value) if name in ("token_end", "token_size", "sent_ns") else value for name, value in values.items()
    }


def decoded(api: Api, body: bytes, cuts: Sequence[int] = (), stop_ns: int = 0) -> Reply:
    """The body fed to a decoder in parts. With `stop_ns` a feed may leave lines for the next one."""
    reply = Reply()
    decoder = Decoder(api.framing, api, reply)
    grown = bytearray()
    for low, high in itertools.pairwise([0, *sorted(cuts), len(body)]):
        grown += body[low:high]
        decoder.feed(grown, stop_ns)
    while not decoder.feed(grown, stop_ns, final=True):
        pass
    assert grown == body
    return reply


def said(*chunks: object, api: Api = CHAT, tail: str = "") -> Reply:
    """What is understood of these chunks."""
    lines = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks]
    framed = "".join(f"data: {line}\n\n" if api.framing == "sse" else f"{line}\n" for line in lines)
    return decoded(api, (framed + tail).encode())


def delta(finish: str | None = None, **fields: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


CALL = Call("r1-001", Prompt("p", "router", 12, (Message("user", "?"),)), 12)
BLOCK = Block("measured", 1, Plan((CALL,), 1))


class Wire(NamedTuple):
    loop: asyncio.AbstractEventLoop
    ours: socket.socket
    theirs: socket.socket


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    """Two ends of a socket, and a clock of whole numbers, so that no two stamps are the same."""
    loop = asyncio.new_event_loop()
    ours, theirs = socket.socketpair()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("infertui.client.wire.time", SimpleNamespace(perf_counter_ns=itertools.count(1).__next__))
        yield Wire(loop, ours, theirs)
    ours.close()
    theirs.close()
    loop.close()


def connection_of(wire: Wire, limits: Limits | None = None) -> tuple[Connection, list[str]]:
    """A connection on a transport that only writes down what is asked of it."""
    asked: list[str] = []
    connection = Connection(wire.loop, limits or Limits())
    transport: Any = SimpleNamespace(
        write=lambda data: asked.append(f"write {len(data)}"),
        abort=lambda: asked.append("abort"),
        is_closing=lambda: "abort" in asked,
        get_extra_info=lambda name, default=None: wire.ours if name == "socket" else default,
    )
    connection.connection_made(transport)
    return connection, asked


def received(
    wire: Wire, reads: Sequence[bytes], error: Exception | None = None, limits: Limits | None = None
) -> Exchange:
    """An exchange over which these reads came; where the reply has not ended by them, the server closes."""
    connection, _ = connection_of(wire, limits)
    exchange = connection.start(b"POST")
    assert wire.theirs.recv(100) == b"POST"
    for read in reads:
        connection.data_received(read)
    if not exchange.done.done():
        connection.connection_lost(error)
    assert exchange.done.done()
    return exchange


def done(exchange: Exchange, api: Api = CHAT, streamed: bool = True) -> Done:
    flight = Flight(CALL, 0, exchange.send_ns, api, streamed, cold=True)
    flight.exchange = exchange
    flight.decode(0, final=True)
    return record.done(flight, BLOCK, exchange.failure, exchange.end_ns)


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(place % len(data) for place in cuts)})
    return [data[low:high] for low, high in itertools.pairwise(marks)]


CUTS = st.lists(st.integers(0, 20_000), max_size=12)
FEW = settings(max_examples=12, deadline=None, database=None)


# The transcripts.


@pytest.mark.parametrize("name", sorted({*STREAMS, *WHOLE, *ERRORS}))
def test_a_transcript_is_as_long_as_its_headers_say(name: str) -> None:
    taken = transcript(name)
    if "content-length" in taken.headers:
        assert len(taken.body) == int(taken.headers["content-length"])
    assert not re.search(rb"/(work|root|tmp|home|Users|srv|opt|mnt)/", taken.wire + taken.command.encode())


def test_no_transcript_lies_unused() -> None:
    found = {str(path.relative_to(TRANSCRIPTS).with_suffix("")) for path in TRANSCRIPTS.rglob("*.txt")}
    assert found == {*STREAMS, *WHOLE, *ERRORS}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_understood_as_its_file_reads(name: str) -> None:
    taken, expected = transcript(name), STREAMS[name]
    reply = decoded(taken.api, taken.body)
    got = Said(
        len(reply.token_end),
        reply.text,
        reply.prompt,
        reply.output,
        reply.cached,
        reply.comments,
        reply.finish or "",
        reply.thought,
        reply.reasoned,
        reply.server,
        reply.fingerprint,
    )
    assert got == expected
    assert reply.done
    assert (reply.error, reply.bad) == ("", "")
    assert list(reply.token_end) == ends_of(taken.body, taken.api.framing == "sse")


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_in_one_read_becomes_a_good_call(name: str, wire: Wire) -> None:
    taken, expected = transcript(name), STREAMS[name]
    call = done(received(wire, [taken.wire]), taken.api)
    row = call.record
    assert (row.outcome, row.message, row.note, row.status) == ("ok", "", "", 200)
    told = expected.output or expected.server.get("output_n")
    source = "usage" if expected.output else "server" if told else "pieces"
    assert (row.n_output, row.n_source, row.n_pieces) == (told or expected.pieces, source, expected.pieces)
    new, old = expected.server.get("prompt_n"), expected.server.get("cached_n")
    assert row.n_prompt == (expected.prompt if expected.prompt or new is None else new + (old or 0))
    assert row.n_cached == (old if expected.cached is None else expected.cached)
    assert row.first_ns == row.last_ns
    assert row.decode_tps is None
    assert list(call.reads.pieces) == [expected.pieces]
    assert (call.text, call.thought) == (expected.text, expected.thought)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("asked_to_stream", [False, True])
def test_a_reply_that_comes_whole_is_understood(name: str, asked_to_stream: bool, wire: Wire) -> None:
    taken, expected = transcript(name), WHOLE[name]
    exchange = received(wire, cut(taken.wire, [100, 300]))
    row = (call := done(exchange, taken.api, asked_to_stream)).record
    assert (row.outcome, row.finish, call.text) == ("ok", "length", expected.text)
    assert (row.n_prompt, row.n_output, row.n_cached, row.n_source) == (*expected[2:5], "usage")
    # no time of a first token is known, and the last one's is the end of the reply
    assert (row.first_ns, row.ttft_ms, row.decode_tps, row.last_ns) == (None, None, None, exchange.end_ns)
    assert row.server_prompt_ms == expected.server.get("prompt_ms")
    assert row.note == ("the server did not stream its reply" if asked_to_stream else "")


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("cuts", [[], [20, 150, 250]])
def test_a_refusal_is_an_error_with_the_words_of_the_server(name: str, cuts: list[int], wire: Wire) -> None:
    taken = transcript(name)
    call = done(received(wire, cut(taken.wire, cuts)))
    assert (call.record.outcome, call.record.message.rstrip("…")) == (ERRORS[name][0], ERRORS[name][1][:299])
    assert call.record.status == taken.status
    assert call.record.n_output is None
    assert call.record.e2e_ms is None


# Any way of cutting up a body.


@pytest.mark.parametrize("name", STREAMS)
@FEW
@given(cuts=CUTS)
def test_any_cut_of_a_body_gives_the_same_reply(name: str, cuts: list[int]) -> None:
    taken = transcript(name)
    cuts = [place % len(taken.body) for place in cuts]
    assert everything(decoded(taken.api, taken.body, cuts)) == everything(decoded(taken.api, taken.body))


@pytest.mark.parametrize("name", STREAMS)
def test_a_body_byte_by_byte_gives_the_same_reply(name: str) -> None:
    taken = transcript(name)
    by_byte = decoded(taken.api, taken.body, range(1, len(taken.body)))
    assert everything(by_byte) == everything(decoded(taken.api, taken.body))


@pytest.mark.parametrize("name", STREAMS)
@FEW
@given(cuts=CUTS, lines=st.integers(1, 3))
def test_slices_of_a_few_lines_give_the_same_reply(name: str, cuts: list[int], lines: int) -> None:
    taken = transcript(name)
    cuts = [place % len(taken.body) for place in cuts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "SLICE_LINES", lines)
        sliced = decoded(taken.api, taken.body, cuts, stop_ns=1)
    assert everything(sliced) == everything(decoded(taken.api, taken.body))


def test_a_slice_ends_when_its_time_is_over() -> None:
    taken = transcript("mlx/chat_stream_usage")
    reply = Reply()
    decoder = Decoder("sse", CHAT, reply)
    body = bytearray(taken.body * 4)
    assert not decoder.feed(body, stop_ns=1)
    assert 0 < len(reply.token_end) < 48
    while not decoder.feed(body, stop_ns=1):
        pass
    assert len(reply.token_end) == 48


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("mark", [b"\r\n", b"\r"])
@FEW
@given(cuts=CUTS)
def test_other_ends_of_lines_give_the_same_tokens(name: str, mark: bytes, cuts: list[int]) -> None:
    taken = transcript(name)
    sse = taken.api.framing == "sse"
    mark = mark if sse else b"\r\n"  # in NDJSON a carriage return alone is a space
    body = taken.body.replace(b"\n", mark)
    reply = decoded(taken.api, body, [place % len(body) for place in cuts])
    assert list(reply.token_end) == ends_of(body, sse)
    plain = decoded(taken.api, taken.body)
    assert everything(reply, but=["token_end"]) == everything(plain, but=["token_end"])


@pytest.mark.parametrize("name", STREAMS)
def test_a_body_without_its_last_end_of_line_is_whole(name: str) -> None:
    taken = transcript(name)
    shorter = taken.body.rstrip(b"\n")
    reply = decoded(taken.api, shorter, [len(shorter) // 2])
    assert reply.done
    assert everything(reply, but=["token_end"]) == everything(decoded(taken.api, taken.body), but=["token_end"])


# Any way of cutting up a response.


def expected_reads(taken: Transcript, reads: Sequence[bytes]) -> list[int]:
    """Which read brought the last byte of each token's line, by counting bytes."""
    ends = list(itertools.accumulate(len(read) for read in reads))
    return [bisect_right(ends, taken.places[end - 1]) for end in ends_of(taken.body, taken.api.framing == "sse")]


def check_owners(taken: Transcript, reads: Sequence[bytes], wire: Wire) -> None:
    exchange = received(wire, reads)
    assert exchange.failure is None
    assert exchange.complete
    assert bytes(exchange.body) == taken.body
    assert len(exchange.read_ns) == len(reads)
    assert exchange.first_byte_ns == exchange.read_ns[0]
    assert exchange.send_ns < exchange.read_ns[0] <= exchange.head_ns
    ends = itertools.accumulate(len(read) for read in reads)
    assert list(exchange.read_end) == [sum(place < end for place in taken.places) for end in ends]
    expected = expected_reads(taken, reads)
    reply = decoded(taken.api, bytes(exchange.body))
    assert len(reply.token_end) == len(expected)
    row = (call := done(exchange, taken.api)).record
    stamps = [exchange.read_ns[read] for read, _ in itertools.groupby(expected)]
    assert list(call.reads.at_us) == [(stamp - exchange.send_ns) // 1000 for stamp in stamps]
    assert list(call.reads.pieces) == [len(list(group)) for _, group in itertools.groupby(expected)]
    assert (row.outcome, row.first_ns, row.last_ns) == ("ok", stamps[0], stamps[-1])


@pytest.mark.parametrize("name", STREAMS)
@FEW
@given(cuts=st.lists(st.integers(0, 20_000), max_size=25))
def test_any_cut_of_a_response_gives_each_token_to_the_read_that_ended_its_line(
    name: str, cuts: list[int], wire: Wire
) -> None:
    taken = transcript(name)
    check_owners(taken, cut(taken.wire, cuts), wire)


@pytest.mark.parametrize(
    "name", ["vllm/chat_stream_usage", "xllamacpp/native_completion_stream", "mlx/completions_stream"]
)
def test_a_response_byte_by_byte_gives_each_token_to_the_byte_that_ended_its_line(name: str, wire: Wire) -> None:
    taken = transcript(name)
    check_owners(taken, [bytes([byte]) for byte in taken.wire], wire)


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_a_cut_beside_an_end_of_line_moves_the_token_to_the_right_read(shift: int, wire: Wire) -> None:
    taken = transcript("max/chat_stream_usage")
    for end in ends_of(taken.body):
        place = taken.places[end - 1] + 1 + shift
        reads = [taken.wire[:place], taken.wire[place:]]
        first = sum(taken.places[other - 1] < place for other in ends_of(taken.body))
        assert expected_reads(taken, reads) == [0] * first + [1] * (11 - first)
        check_owners(taken, reads, wire)


def test_a_reply_after_100_continue_is_the_reply(wire: Wire) -> None:
    taken = transcript("vllm/chat_stream_usage")
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    for reads in (
        [interim, taken.wire],
        [interim + taken.wire],
        [interim[:10], interim[10:] + taken.wire[:5], taken.wire[5:]],
    ):
        exchange = received(wire, reads)
        assert (exchange.status, bytes(exchange.body), exchange.failure) == (200, taken.body, None)


@pytest.mark.parametrize(
    ("name", "reused"),
    [
        ("llama-server/chat_stream_usage", True),
        ("vllm/chat_stream_usage", True),
        ("mlx/chat_nonstream", False),  # HTTP/1.0
        ("mlx/chat_stream_usage", False),  # its end is the connection's
        ("llama-server/err_unknown_route", False),  # Connection: close
    ],
)
def test_a_connection_is_used_again_only_where_the_server_keeps_it(name: str, reused: bool, wire: Wire) -> None:
    connection, asked = connection_of(wire)
    exchange = connection.start(b"POST")
    wire.theirs.recv(100)
    connection.data_received(transcript(name).wire)
    if not exchange.done.done():
        connection.eof_received()
    assert exchange.failure is None
    assert (connection.reusable, asked) == (reused, [] if reused else ["abort"])
    if name.startswith("llama"):
        assert exchange.announced == (5.0 if reused else -1.0)


def test_bytes_after_the_reply_are_no_part_of_it_and_end_the_connection(wire: Wire) -> None:
    taken = transcript("vllm/chat_nonstream")
    connection, asked = connection_of(wire)
    exchange = connection.start(b"POST")
    wire.theirs.recv(100)
    connection.data_received(taken.wire + b"what is this")
    assert (bytes(exchange.body), exchange.failure, exchange.complete) == (taken.body, None, True)
    assert asked == ["abort"]


def test_a_second_reply_in_the_same_read_does_not_change_the_first(wire: Wire) -> None:
    taken = transcript("vllm/chat_nonstream")
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nlate"
    connection, asked = connection_of(wire)
    exchange = connection.start(b"POST")
    wire.theirs.recv(100)
    connection.data_received(taken.wire + late)
    assert (exchange.status, bytes(exchange.body)) == (200, taken.body)
    assert asked == ["abort"]


def test_bytes_that_nobody_asked_for_end_the_connection(wire: Wire) -> None:
    connection, asked = connection_of(wire)
    connection.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert asked == ["abort"]


# Responses that break off.


def test_a_connection_that_closes_before_the_first_byte_is_a_reset(wire: Wire) -> None:
    call = done(received(wire, []))
    assert call.record.outcome == "reset"
    assert (call.record.first_ns, call.record.headers_ns, call.record.status) == (None, None, None)


def test_a_stream_that_breaks_off_is_truncated_and_keeps_its_first_token(wire: Wire) -> None:
    taken = transcript("vllm/chat_stream_usage")
    place = taken.places[ends_of(taken.body)[4] - 1] + 1
    row = done(received(wire, [taken.wire[:place]])).record
    assert (row.outcome, row.n_pieces) == ("truncated", 5)
    assert row.ttft_ms is not None
    assert (row.e2e_ms, row.effective_tps, row.decode_tps) == (None, None, None)


def test_a_connection_that_breaks_is_a_reset(wire: Wire) -> None:
    taken = transcript("vllm/chat_stream_usage")
    exchange = received(wire, [taken.wire[:900]], ConnectionResetError("reset by peer"))
    assert done(exchange).record.outcome == "reset"


def test_a_stream_whose_last_chunk_is_missing_after_its_last_word_is_good_with_a_note(wire: Wire) -> None:
    taken = transcript("vllm/chat_stream_usage")
    row = done(received(wire, [taken.wire[: taken.places[-1] + 1]])).record
    assert (row.outcome, row.n_output) == ("ok", 12)
    assert row.note == "the connection broke after the reply's last word"


def test_a_stream_without_its_last_word_is_good_with_a_note(wire: Wire) -> None:
    taken = transcript("mlx/chat_stream_usage")
    row = done(received(wire, [taken.wire.replace(b"data: [DONE]\n\n", b"")])).record
    assert (row.outcome, row.n_output) == ("ok", 12)
    assert row.note == "the stream ended without its last word ([DONE])"


def test_a_stream_without_a_reason_for_its_end_is_truncated(wire: Wire) -> None:
    taken = transcript("mlx/chat_stream_usage")
    row = done(received(wire, [taken.wire.replace(b'"length"', b"null")])).record
    assert (row.outcome, row.message) == ("truncated", "[DONE] came without a finish reason")


@pytest.mark.parametrize(
    "broken",
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b"\x16\x03\x01"],
)
def test_what_is_not_http_is_a_bad_stream(broken: bytes, wire: Wire) -> None:
    assert done(received(wire, [broken])).record.outcome == "bad-stream"


def test_endless_headers_and_an_endless_body_are_refused(wire: Wire) -> None:
    limits = Limits(head_bytes=100, body_bytes=100)
    endless = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100
    assert received(wire, [endless], limits=limits).failure.kind == "bad-stream"  # type: ignore[union-attr]
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 101
    assert received(wire, [long], limits=limits).failure.kind == "bad-stream"  # type: ignore[union-attr]


def test_a_page_with_status_200_is_no_reply(wire: Wire) -> None:
    page = b"<html><head><title>Sign in</title></head></html>"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n" % len(page)
    row = done(received(wire, [head + page])).record
    assert (row.outcome, row.message) == ("bad-stream", "status 200 with an HTML page: Sign in")


# Which read brought which token.


@pytest.mark.parametrize(
    ("token_end", "read_end", "pieces", "at_ns", "owner"),
    [
        ([10, 20], [20], [2], [100], [0, 0]),  # two tokens in one read
        ([30], [10, 20, 30], [1], [300], [0]),  # a token over three reads
        ([10, 20], [10, 20, 35], [1, 1], [100, 200], [0, 1]),  # [DONE] in a read of its own is no token
        ([10, 20], [0, 10, 20], [1, 1], [200, 300], [0, 1]),  # a read of headers alone
        ([10, 20], [10, 10, 20], [1, 1], [100, 300], [0, 1]),  # a read that brought an end of a chunk alone
        ([11, 20], [10, 20], [2], [200], [0, 0]),  # a line that ends one byte into the next read
        ([10, 10], [10], [2], [100], [0, 0]),  # two pieces in one line
        ([5, 12, 13, 30], [8, 14, 30], [1, 2, 1], [100, 200, 300], [0, 1, 1, 2]),
        ([], [10], [], [], []),
        ([], [], [], [], []),
    ],
)
def test_a_token_belongs_to_the_read_that_completes_its_line(
    token_end: list[int], read_end: list[int], pieces: list[int], at_ns: list[int], owner: list[int]
) -> None:
    read_ns = [100_000, 200_000, 300_000]
    for step in (1, len(token_end) or 1):  # as the pieces come, or all at the end
        reply, reads = Reply(), Reads(0)
        for start in range(0, len(token_end), step):
            for end in token_end[start : start + step]:
                reply.token("answer", "word", end)
            reads.extend(reply, read_end, read_ns)
        assert (list(reads.pieces), list(reads.at_us)) == (pieces, at_ns)
        assert [index for index, count in enumerate(reads.pieces) for _ in range(count)] == owner
        assert reads.first_ns == (at_ns[0] * 1000 if at_ns else 0)


def test_a_stamp_of_another_clock_is_not_believed() -> None:
    # sent before the request was, after it was read, in the far future: none of it can be
    for sent in (999, 200_001, 1 << 62, 1 << 70):
        reply, reads = Reply(), Reads(1000)
        reply.token("answer", "a", 10, 0, 150_000)
        reply.token("answer", "b", 20, 0, sent)
        reads.extend(reply, [10, 20], [160_000, 200_000])
        assert list(reads.at_us) == [159, 199]
        assert list(reads.sent_us) in ([], [149])


# What is a token.


@pytest.mark.parametrize(
    "chunk",
    [
        delta(role="assistant"),
        delta(role="assistant", content=""),
        delta(role="assistant", content=None),
        delta(content="", reasoning="", reasoning_content="", thinking=""),
        delta(tool_calls=[]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ""}}]),
        delta(tool_calls=[{"index": 0, "function": None}]),
        delta(tool_calls=None, function_call=None, refusal=None),
        {"choices": []},
        {"choices": None},
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
        {"choices": [{"index": 0, "delta": None, "finish_reason": None}]},
        {"object": "something else"},
        {},
    ],
)
def test_a_chunk_without_text_is_no_token(chunk: dict[str, Any]) -> None:
    reply = said(chunk)
    assert (list(reply.token_end), reply.bad, reply.error, reply.answer_from) == ([], "", "", -1)


def test_comments_and_fields_of_events_are_no_tokens() -> None:
    body = b": keep-alive\n\n:\n\nid: 7\nretry: 100\nevent: message\ndata:\n\ndata: [DONE]\n\n"
    reply = decoded(CHAT, body)
    assert (len(reply.token_end), reply.comments, reply.bad, reply.done) == (0, 2, "", True)


@pytest.mark.parametrize(
    ("fields", "thought", "text", "answer_from"),
    [
        ({"content": "a"}, "", "a", 0),
        ({"reasoning": "a"}, "a", "", -1),
        ({"reasoning_content": "a"}, "a", "", -1),
        ({"thinking": "a"}, "a", "", -1),
        ({"refusal": "no"}, "", "no", 0),
        ({"tool_calls": [{"index": 0, "id": "x", "function": {"name": "look"}}]}, "", "look", 0),
        ({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}, "", '{"a"', 0),
        ({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": {"a": 1}}}]}, "", 'f{"a":1}', 0),
        ({"function_call": {"name": "look", "arguments": "{}"}}, "", "look{}", 0),
    ],
)
def test_text_on_any_channel_is_a_token(fields: dict[str, Any], thought: str, text: str, answer_from: int) -> None:
    reply = said(delta(role="assistant", **fields))
    assert (len(reply.token_end), reply.thought, reply.text, reply.answer_from) == (1, thought, text, answer_from)


@pytest.mark.parametrize(
    ("chunks", "answer_from"),
    [
        ([delta(role="assistant", content=""), delta(reasoning="a"), delta(reasoning="b"), delta(content="c")], 2),
        ([delta(reasoning_content="a"), delta(tool_calls=[{"function": {"name": "f"}}]), delta(content="c")], 1),
        ([delta(content="a"), delta(reasoning="b")], 0),
        ([delta(reasoning="a"), delta(reasoning="b")], -1),
    ],
)
def test_the_answer_begins_with_its_first_text_or_tool_call(chunks: list[dict[str, Any]], answer_from: int) -> None:
    assert said(*chunks).answer_from == answer_from


def test_the_first_answer_has_the_time_of_its_own_read(wire: Wire) -> None:
    taken = transcript("ollama/made_from_documents_api_chat_stream")
    exchange = received(wire, cut(taken.wire, [taken.places[end - 1] + 1 for end in ends_of(taken.body, sse=False)]))
    row = done(exchange, OLLAMA).record
    # two thoughts, then the answer: the third read of all
    assert (row.first_ns, row.first_answer_ns) == (exchange.read_ns[0], exchange.read_ns[2])


def test_a_chunk_with_a_thought_and_an_answer_keeps_both() -> None:
    reply = said(delta(content="b", reasoning="a"), '{"choices":[{"message":{"content":"d","reasoning_content":"c"}}]}')
    assert (reply.text, reply.thought) == ("bd", "ac")


def test_a_chunk_with_an_answer_and_a_tool_call_keeps_both() -> None:
    reply = said(
        delta(content="Let me look.", tool_calls=[{"index": 0, "function": {"name": "look", "arguments": "{}"}}])
    )
    assert (reply.text, "".join(reply.tool)) == ("Let me look.\nlook{}", "look{}")


def test_the_tokens_of_a_chunk_with_a_thought_and_an_answer_are_counted_once() -> None:
    chunk = delta(content="b", reasoning="a")
    chunk["choices"][0]["token_ids"] = [7, 8]
    assert sum(said(chunk).token_size) == 2


def test_a_piece_has_the_size_that_its_token_ids_say() -> None:
    chunk = {"choices": [{"index": 0, "text": " several words", "token_ids": [5, 6, 7]}]}
    assert list(said(chunk, {"choices": [{"text": "a", "token_ids": None}]}, api=COMPLETIONS).token_size) == [3, 0]


# What a reply says of itself.


@pytest.mark.parametrize(
    ("usages", "expected"),
    [
        ([None, {"prompt_tokens": 9, "completion_tokens": 2}], (9, 2)),
        ([{"prompt_tokens": 0, "completion_tokens": 0}] * 2, (None, None)),  # Ollama's /v1/completions
        ([{"prompt_tokens": 0, "completion_tokens": 0}, {"prompt_tokens": 9, "completion_tokens": 2}], (9, 2)),
        ([{"prompt_tokens": 9, "completion_tokens": 2}, {"prompt_tokens": 0, "completion_tokens": 0}], (9, 2)),
        ([{"prompt_tokens": 9, "completion_tokens": 1}, {"prompt_tokens": 9, "completion_tokens": 2}], (9, 2)),
        ([{"prompt_tokens": 9, "completion_tokens": 2, "completion_tokens_details": None}, None], (9, 2)),
        ([{"prompt_tokens": None, "completion_tokens": None}, None], (None, None)),
        ([{"completion_tokens": 2.0}, None], (None, 2)),
    ],
)
def test_counts_are_the_last_ones_that_are_not_zero(usages: list[object], expected: tuple[object, object]) -> None:
    chunks = [{"choices": [{"index": 0, "text": "a"}], "usage": usage} for usage in usages]
    reply = said(*chunks, api=COMPLETIONS)
    assert (reply.prompt, reply.output) == expected


def test_a_reply_that_truly_has_no_token_says_zero() -> None:
    reply = said(delta(role="assistant"), delta("stop"), {"choices": [], "usage": {"completion_tokens": 0}})
    assert (reply.output, len(reply.token_end)) == (0, 0)


def test_zeros_on_an_empty_first_piece_do_not_count_either() -> None:
    zeros = {"usage": {"prompt_tokens": 0, "completion_tokens": 0}}
    reply = said(delta(role="assistant") | zeros, delta(content="a") | zeros, delta("stop", content="b") | zeros)
    assert (reply.output, len(reply.token_end)) == (None, 2)


def test_details_of_usage_are_taken() -> None:
    usage = {
        "prompt_tokens": 30,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 20, "audio_tokens": None},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    reply = said({"choices": [], "usage": usage})
    assert (reply.prompt, reply.output, reply.cached, reply.reasoned) == (30, 9, 20, 4)


def test_the_queue_time_of_vllm_is_taken() -> None:
    assert said({"choices": [], "metrics": {"queue_time_ms": 12.5}}).server == {"queue_ms": 12.5}


def test_a_queue_time_that_would_be_negative_is_zero() -> None:
    line = {"done": True, "total_duration": 10_000_000, "eval_duration": 12_000_000, "eval_count": 3}
    reply = said(line, api=OLLAMA)
    assert (reply.server["queue_ms"], reply.finish, reply.done) == (0.0, "stop", True)


def test_stamps_of_a_server_that_sends_them_are_kept() -> None:
    assert list(said(delta(role="assistant") | {"sent_ns": 5}, delta(content="a") | {"sent_ns": 9}).sent_ns) == [9]


# Errors in a reply that began well.


@pytest.mark.parametrize(
    ("api", "body", "message"),
    [
        (CHAT, b'data: {"error":{"message":"out of memory","type":"server_error"}}\n\n', "out of memory"),
        (CHAT, b'data: {"error":"out of memory"}\n\n', "out of memory"),
        (CHAT, b'event: error\ndata: {"message":"out of memory"}\n\n', "out of memory"),
        (CHAT, b'event: error\ndata: {"error":{"message":"out of memory"}}\n\n', "out of memory"),
        (CHAT, b"event:error\ndata: out of memory\n\n", "out of memory"),
        (CHAT, b'error: {"code":500,"message":"out of memory"}\n\n', "out of memory"),
        (LLAMA, b'data: {"error":{"code":500,"message":"out of memory"}}\n\n', "out of memory"),
        (OLLAMA, b'{"error":"out of memory"}\n', "out of memory"),
    ],
)
def test_an_error_in_a_stream_is_kept_and_is_no_token(api: Api, body: bytes, message: str, wire: Wire) -> None:
    reply = decoded(api, body)
    assert (reply.error, len(reply.token_end), reply.bad) == (message, 0, "")
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    row = done(received(wire, [head + body]), api).record
    assert (row.outcome, row.message) == ("bad-stream", f"the server reported inside its reply: {message}")


def test_an_error_over_two_data_lines_is_kept_whole() -> None:
    reply = decoded(CHAT, b'event: error\ndata: {"error":\ndata: {"message":"out of memory"}}\n\n')
    assert (reply.error, reply.bad) == ("out of memory", "")


def test_the_kind_of_an_event_ends_with_the_event() -> None:
    reply = decoded(CHAT, b'event: ping\ndata: {}\n\ndata: {"choices":[{"delta":{"content":"a"}}]}\n\n')
    assert (reply.text, reply.error) == ("a", "")


def test_tokens_before_an_error_are_kept() -> None:
    reply = said(delta(content="a"), {"error": {"message": "gone"}})
    assert (len(reply.token_end), reply.text, reply.error) == (1, "a", "gone")


# Forms of a stream.


def test_the_data_of_an_event_may_be_spread_over_lines() -> None:
    body = b'data: {"choices":[{"delta":\ndata: {"content":"a"}\ndata: }]}\n\ndata: [DONE]\n\n'
    reply = decoded(CHAT, body)
    assert (reply.text, list(reply.token_end), reply.bad, reply.done) == ("a", [body.index(b"}]}") + 4], "", True)


def test_spread_data_may_be_cut_anywhere() -> None:
    body = b'data: {"choices":[{"delta":\r\ndata: {"content":"a"}\r\ndata: }]}\r\n\r\ndata: [DONE]\r\n\r\n'
    whole = everything(decoded(CHAT, body))
    assert all(everything(decoded(CHAT, body, [place])) == whole for place in range(len(body)))


@pytest.mark.parametrize(
    "body", [b'data:{"choices":[{"delta":{"content":"a"}}]}\n\ndata:[DONE]\n\n', b"data: [DONE] \n\n"]
)
def test_the_space_after_data_may_be_missing(body: bytes) -> None:
    reply = decoded(CHAT, body)
    assert (reply.done, reply.bad) == (True, "")


@pytest.mark.parametrize(
    ("api", "body"),
    [
        (CHAT, b"data: not json\n\n"),
        (CHAT, b'data: {"choices":[{"delta":{"content":"a"}}]\n\n'),
        (CHAT, b'data: {"choices": 5}\n\n'),
        (CHAT, b'data: {"usage":{"completion_tokens":"many"}}\n\n'),
        (CHAT, b"data: [1, 2]\n\n"),
        (CHAT, b"Internal Server Error\n"),
        (CHAT, b"<html>\n"),
        (CHAT, b"\xff\xfe\n\n"),
        (CHAT, b"data: \xff\xfe\n\n"),
        (CHAT, b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n'),
        (OLLAMA, b"not json\n"),
        (OLLAMA, b'{"message":\n{"content":"a"}}\n'),
        (OLLAMA, b'{"message":{"content":"a"}\n'),
    ],
)
def test_a_line_that_is_no_chunk_makes_the_stream_bad(api: Api, body: bytes) -> None:
    good = {"choices": [{"delta": {"content": "x"}, "text": "x"}], "message": {"content": "x"}}
    line = json.dumps(good).encode()
    before = b"data: %b\n\n" % line if api.framing == "sse" else line + b"\n"
    reply = decoded(api, before + body + before)
    assert reply.bad
    assert len(reply.token_end) == 1  # nothing after it is believed


@pytest.mark.parametrize("api", [CHAT, OLLAMA])
def test_json_that_is_nested_too_deep_makes_the_stream_bad(api: Api) -> None:
    line = b'{"error":' + b"[" * 100_000
    assert decoded(api, (b"data: %b\n\n" if api.framing == "sse" else b"%b\n") % line).bad


def test_a_whole_reply_that_is_nested_too_deep_is_refused() -> None:
    with pytest.raises(BadStream):
        take_whole(CHAT, b'{"error":' + b"[" * 100_000, Reply())


def test_an_error_that_is_nested_too_deep_is_shown_as_it_is() -> None:
    assert error_text(b"[" * 100_000) == "[" * 2000


@pytest.mark.parametrize("end", [b"", b"\n\n"])
@pytest.mark.parametrize("api", [CHAT, OLLAMA])
def test_a_giant_line_makes_the_stream_bad(end: bytes, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LINE_BYTES", 64)
    short, long = b'data: {"choices":[]}\n\n', b'data: {"x":"%b"}' % (b"y" * 64)
    if api is OLLAMA:
        short, long = short[6:], long[6:]
    for cuts in ([], [40], [70]):
        assert decoded(api, short + long + end, cuts).bad.startswith("a line is longer than")
    assert not decoded(api, short * 9).bad


def test_an_event_of_many_lines_is_not_collected_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LINE_BYTES", 64)
    assert decoded(CHAT, b'data: {"x":"' + b"\ndata: yyyyyyyy" * 20).bad


def test_half_a_character_at_the_end_of_a_chunk_finds_its_other_half() -> None:
    smile = "😀".encode()
    start, end = b'data: {"choices":[{"delta":{"content":"', b'"}}]}\n\n'
    body = start + b"a " + smile[:2] + end + start + smile[2:] + " é".encode() + end
    reply = decoded(CHAT, body, [len(start) + 3])
    assert (reply.text, len(reply.token_end), reply.bad) == ("a 😀 é", 2, "")


def test_half_a_character_without_its_other_half_is_shown_as_broken() -> None:
    body = b'data: {"choices":[{"delta":{"content":"a\xf0\x9f"}}]}\n\n'
    assert decoded(CHAT, body).text == "a\ufffd"


@FEW
@given(garbage=st.binary(max_size=200), cuts=CUTS)
def test_no_bytes_whatever_raise(garbage: bytes, cuts: list[int]) -> None:
    for api in (CHAT, COMPLETIONS, LLAMA, OLLAMA):
        for body in (garbage, b"data: " + garbage + b"\n\n", b'data: {"choices":[{"text":"' + garbage + b'"}]}\n\n'):
            reply = decoded(api, body, [place % len(body) for place in cuts] if body else [])
            assert everything(reply) == everything(decoded(api, body))
            assert isinstance(reply.text, str)
            error_text(body)


# What a server says went wrong.


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'{"error":{"message":"too long","type":"x","code":400}}', "too long"),  # OpenAI
        (b'{"error":"model not found"}', "model not found"),  # Ollama, mlx_lm
        (b'{"detail":"Not Found"}', "Not Found"),  # FastAPI
        (
            b'{"detail":[{"loc":["body","x"],"msg":"Field required"},{"msg":"too big"}]}',
            "Field required (body.x); too big",
        ),
        (b'{"message":"no"}', "no"),
        (b'{"error":{"code":400}}', '{"code":400}'),
        (b'{"error":null,"message":"no"}', "no"),
        (b"<!DOCTYPE html><html><head><title>502 Bad\n Gateway</title></head></html>", "an HTML page: 502 Bad Gateway"),
        (b"<html><body><h1>Oops</h1> it <b>broke</b></body></html>", "an HTML page: Oops it broke"),
        (b"Internal Server Error\n", "Internal Server Error"),
        (b'"just words"', "just words"),
        (b"null", "null"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
        (b"x" * 5000, "x" * 2000),
    ],
)
def test_an_error_is_read_in_whatever_form_it_comes(data: bytes, text: str) -> None:
    assert error_text(data) == text


# Addresses.


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "netloc", "prefix"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1", 8080, False, "127.0.0.1:8080", ""),
        ("localhost:11434", "localhost", 11434, False, "localhost:11434", ""),
        ("localhost", "localhost", 80, False, "localhost", ""),
        ("http://Example.ORG/", "example.org", 80, False, "example.org", ""),
        ("https://example.org", "example.org", 443, True, "example.org", ""),
        ("https://example.org:80", "example.org", 80, True, "example.org:80", ""),
        ("http://example.org:443", "example.org", 443, False, "example.org:443", ""),
        ("http://[::1]:8080", "::1", 8080, False, "[::1]:8080", ""),
        ("[::1]", "::1", 80, False, "[::1]", ""),
        ("https://example.org/llm/gpu", "example.org", 443, True, "example.org", "/llm/gpu"),
        ("http://127.0.0.1:1234/v1", "127.0.0.1", 1234, False, "127.0.0.1:1234", ""),
        ("http://127.0.0.1:1234/v1/", "127.0.0.1", 1234, False, "127.0.0.1:1234", ""),
        ("https://example.org/llm/v1/", "example.org", 443, True, "example.org", "/llm"),
    ],
)
def test_an_address_is_taken_apart(url: str, host: str, port: int, tls: bool, netloc: str, prefix: str) -> None:
    target = Target(url)
    assert (target.host, target.port, target.tls, target.netloc, target.prefix) == (host, port, tls, netloc, prefix)
    assert target.url == f"{'https' if tls else 'http'}://{netloc}{prefix}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://",
        "http://:8080",
        "ftp://example.org",
        "unix:///run/server.sock",
        "http://example.org:port",
        "http://example.org:99999",
        "http://example.org:-1",
        "http://example.org:0",
        "http://[::1",
        "::1",
        "http://example.org?model=x",
        "http://example.org/#top",
        "http://user:secret@example.org",
        "http://user@example.org",
        "http://exa mple.org",
        "http://example.org/a b",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_with_a_hint(url: str) -> None:
    with pytest.raises(UsageError) as error:
        Target(url)
    assert error.value.hint
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", ["http://bücher.example:8080", "http://example.org/größe"])
def test_an_address_beyond_ascii_is_refused_or_sent_as_ascii(url: str) -> None:
    refused = False
    try:
        request = Target(url).request("/v1/chat/completions", b"{}")
    except UsageError:
        refused = True
    assert refused or request.isascii()


@pytest.mark.parametrize(
    "url", ["http://user:secret@example.org", "ftp://user:secret@example.org", "http://u:secret@h:p"]
)
def test_a_refused_address_does_not_show_its_password(url: str) -> None:
    with pytest.raises(UsageError) as error:
        Target(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("key", ["line\nbreak", "car\rriage", "nul\0", "schlüssel", "tab\tbed", "\x7f"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(UsageError) as error:
        Target("http://example.org", key)
    assert key not in str(error.value)


def test_a_request_is_exactly_these_bytes() -> None:
    body = '{"content":"größer als 😀"}'.encode()
    assert len(body) == 31  # 26 characters, of which ö and ß take two bytes and the face four
    assert Target("https://example.org:8443/llm/v1", "sk-1").request("/v1/chat/completions", body) == (
        b"POST /llm/v1/chat/completions HTTP/1.1\r\n"
        b"Host: example.org:8443\r\n"
        b"User-Agent: infertui/" + __version__.encode() + b"\r\n"
        b"Authorization: Bearer sk-1\r\n"
        b"Content-Type: application/json\r\n"
        b"Accept: */*\r\n"
        b"Content-Length: 31\r\n"
        b"\r\n" + body
    )


def test_a_request_without_a_key_has_no_authorization() -> None:
    request = Target("http://[::1]:8080").request("/completion", b"")
    assert b"Authorization" not in request
    assert b"\r\nHost: [::1]:8080\r\n" in request
    assert request.endswith(b"\r\nContent-Length: 0\r\n\r\n")

"""The random models and the two engines that run them here: the real ones, and nothing in their place."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from infertui.embedded import model
from infertui.embedded.model import Made, cached, made
from infertui.embedded.shape import SIZES, Shape
from infertui.errors import InferTUIError, UsageError
from infertui.scenario import corpus

np = pytest.importorskip("numpy")

LLAMA = [sys.executable, "-m", "infertui.embedded.llama"]
# Without these llama.cpp rounds what it remembers to 16 bits, and a near tie may then fall otherwise than in MLX.
EXACT = ("-fa", "off", "-ctk", "f32", "-ctv", "f32")
QUANTISED = Shape(64, 2, 2, 1, 96, quantised=True)
# A changed generator needs a new model.VERSION, or caches go on to hold what the old one made.
TINY = {"tiny-2-a0f39213": "70fd140563ae056c55d249a13250d106ef3984d456c032f48f63f50edd2d7d2c"}
TOKENS = 40


def prompts(count: int) -> list[list[dict[str, str]]]:
    picked = corpus.pick(count, seed=5)
    return [[{"role": said.role, "content": said.content} for said in prompt.messages] for prompt in picked]


# What a file holds


class Stored(NamedTuple):
    known: dict[str, Any]
    tensors: dict[str, Any]


def gguf(path: Path) -> Stored:
    """Read by the format's description, by other code than what wrote it."""
    data = path.read_bytes()
    at = 0

    def take(form: str) -> Any:
        nonlocal at
        (value,) = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(f"<{form}")
        return value

    def string() -> str:
        nonlocal at
        size = take("Q")
        at += size
        return data[at - size : at].decode()

    def value(kind: int) -> Any:
        if kind == 9:
            inner, count = take("I"), take("Q")
            return [value(inner) for _ in range(count)]
        return string() if kind == 8 else take({4: "I", 5: "i", 6: "f", 7: "?"}[kind])

    assert data[:4] == b"GGUF"
    at = 4
    assert take("I") == 3
    tensors, keys = take("Q"), take("Q")
    known = {string(): value(take("I")) for _ in range(keys)}
    places = [(string(), [take("Q") for _ in range(take("I"))][::-1], take("I"), take("Q")) for _ in range(tensors)]
    start = math.ceil(at / 32) * 32
    held = {}
    for name, size, kind, offset in places:
        count = math.prod(size)
        if kind == 0:
            numbers = np.frombuffer(data, "<f4", count, start + offset)
        else:
            blocks = np.frombuffer(data, np.dtype([("scale", "<f2"), ("steps", "i1", 32)]), count // 32, start + offset)
            numbers = blocks["scale"].astype("f4")[:, None] * blocks["steps"].astype("f4")
        held[name] = numbers.reshape(size)
    return Stored(known, held)


def safetensors(folder: Path) -> Stored:
    data = (folder / "model.safetensors").read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    known = json.loads(data[8 : 8 + size])
    known.pop("__metadata__")
    held = {}
    for name, told in known.items():
        begin, end = told["data_offsets"]
        assert told["dtype"] == "F32"
        held[name] = np.frombuffer(data[8 + size + begin : 8 + size + end], "<f4").reshape(told["shape"])
    return Stored(known, held)


def theirs(name: str) -> str:
    """The name in Hugging Face's libraries of a tensor in a GGUF file."""
    outside = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    inside = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{inside[parts[2]]}.weight"
    return f"{outside[parts[0]]}.weight"


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made("tiny", tmp_path_factory.mktemp("models"))


def maker(root: Path, **environment: str) -> subprocess.Popen[str]:
    code = "import pathlib, sys\nfrom infertui.embedded.model import made\nmade('tiny', pathlib.Path(sys.argv[1]))"
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(root)], text=True, env={**os.environ, **environment}, **pipes
    )


def test_another_process_makes_the_same_bytes(tiny: Made, tmp_path: Path) -> None:
    with maker(tmp_path, PYTHONHASHSEED="7") as child:
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert contents(tmp_path) == contents(tiny.gguf.parent.parent)


def test_every_machine_makes_the_same_bytes_and_a_changed_generator_has_a_new_version(tiny: Made) -> None:
    whole = hashlib.sha256(b"".join(contents(tiny.gguf.parent).values())).hexdigest()
    assert {tiny.gguf.parent.name: whole} == TINY


@pytest.mark.parametrize("shape", [SIZES["tiny"], QUANTISED], ids=["tiny", "quantised"])
def test_both_files_hold_the_same_numbers(shape: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "tested", shape)
    one = made("tested", tmp_path)
    ours, other = gguf(one.gguf), safetensors(one.folder)
    assert {theirs(name) for name in ours.tensors} == set(other.tensors)
    for name, held in ours.tensors.items():
        expected = other.tensors[theirs(name)]
        heads = {"attn_q": shape.heads, "attn_k": shape.kv_heads}.get(name.split(".")[-2], 0)
        if heads:  # neighbours in a GGUF file are half a head apart in the other
            held = held.reshape(heads, -1, 2, shape.width).swapaxes(1, 2).reshape(expected.shape)
        assert np.array_equal(held, expected), name
    assert sum(held.size for held in ours.tensors.values()) == one.parameters


def test_both_forms_say_the_same_about_the_model(tiny: Made) -> None:
    known = gguf(tiny.gguf).known
    config = json.loads((tiny.folder / "config.json").read_text())
    tokenizer = json.loads((tiny.folder / "tokenizer.json").read_text())
    about = json.loads((tiny.folder / "tokenizer_config.json").read_text())
    assert known["general.name"] == tiny.name == tiny.folder.name == tiny.gguf.stem == "random-2.6M"
    assert known["llama.context_length"] == config["max_position_embeddings"] >= 4096
    assert known["tokenizer.ggml.tokens"] == list(tokenizer["model"]["vocab"])
    assert known["tokenizer.ggml.merges"] == [" ".join(pair) for pair in tokenizer["model"]["merges"]]
    assert known["tokenizer.ggml.eos_token_id"] == config["eos_token_id"]
    assert known["tokenizer.chat_template"] == about["chat_template"]
    assert config["vocab_size"] == len(set(known["tokenizer.ggml.tokens"]))


# The cache


def test_two_processes_that_make_it_at_once_get_one_model(tiny: Made, tmp_path: Path) -> None:
    with maker(tmp_path) as first, maker(tmp_path) as second:
        told = [child.communicate(timeout=60) for child in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], told
    assert contents(tmp_path) == contents(tiny.gguf.parent.parent)
    assert [path.name for path in tmp_path.iterdir()] == [tiny.gguf.parent.name]


def test_what_is_there_is_found_and_not_made_again(tiny: Made) -> None:
    root = tiny.gguf.parent.parent
    before = tiny.gguf.stat().st_mtime_ns
    assert cached("tiny", root)
    assert made("tiny", root) == tiny
    assert tiny.gguf.stat().st_mtime_ns == before


def test_what_is_half_there_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "tested", QUANTISED)
    assert not cached("tested", tmp_path)
    one = made("tested", tmp_path)
    whole = contents(tmp_path)
    one.gguf.unlink()
    left = tmp_path / f"{model._MAKING}killed"
    left.mkdir()
    os.utime(left, (0, 0))
    assert not cached("tested", tmp_path)
    made("tested", tmp_path)
    assert cached("tested", tmp_path)
    assert contents(tmp_path) == whole
    assert not left.exists()


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InferTUIError, match=r"'tiny' cannot be kept in .*file/models") as told:
        made("tiny", tmp_path / "file" / "models")
    assert "20 MB" in told.value.hint
    assert not cached("tiny", tmp_path / "file" / "models")


def test_an_unknown_size_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'huge'.*tiny, small, big"):
        made("huge")
    with pytest.raises(UsageError, match="'huge'"):
        cached("huge")


def test_without_numpy_the_hint_is_a_command(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['numpy'] = None\nfrom pathlib import Path\nfrom infertui.embedded.model import made\n"
    )
    code += (
        f"try:\n    made('tiny', Path({str(tmp_path)!r}))\nexcept Exception as err:\n    print(type(err).__name__, err)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stdout.startswith("UsageError"), ran.stderr
    assert "pip install 'infertui[llama,mlx]'" in ran.stdout
    assert list(tmp_path.iterdir()) == []


# The engines


class Engine(NamedTuple):
    child: subprocess.Popen[bytes]
    url: str
    log: Path

    def get(self, path: str, **options: Any) -> Any:
        return httpx.get(self.url + path, timeout=10, **options).raise_for_status().json()

    def chat(self, messages: list[dict[str, str]], tokens: int = TOKENS, **more: Any) -> Any:
        body = {"messages": messages, "max_tokens": tokens, "temperature": 0, **more}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=60).raise_for_status().json()


@contextmanager
def running(command: list[str], log: Path, ready: str, **environment: str) -> Iterator[Engine]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*command, "--host", "127.0.0.1", "--port", str(port)]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LLAMA_")}
    with log.open("wb") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, env={**kept, **environment})
    engine = Engine(child, f"http://127.0.0.1:{port}", log)
    try:
        wait(engine, ready)
        yield engine
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(10)


def wait(engine: Engine, path: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and engine.child.poll() is None:
        try:
            if (status := httpx.get(engine.url + path, timeout=5).status_code) == 200:
                return
            assert status == 503  # it loads
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise AssertionError(engine.log.read_text())


Start = Callable[..., Engine]


@pytest.fixture(scope="module")
def start(tiny: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts llama.cpp's server with these flags."""
    if find_spec("xllamacpp") is None:
        pytest.skip("there is no wheel of xllamacpp here")
    folder = tmp_path_factory.mktemp("llama")
    with ExitStack() as stack:

        def started(*flags: str, **environment: str) -> Engine:
            log = folder / f"{len(list(folder.iterdir()))}.log"
            command = [*LLAMA, "-m", str(tiny.gguf), "-t", "1", "-lv", "2", *flags]
            return stack.enter_context(running(command, log, "/health", **environment))

        yield started


@pytest.fixture(scope="module")
def llama(start: Start, tiny: Made) -> Engine:
    return start("-c", "8192", "-np", "1", "--alias", tiny.name, "--metrics", *EXACT)


@pytest.fixture(scope="module")
def mlx(tiny: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if find_spec("mlx_lm") is None:
        pytest.skip("there is no wheel of mlx-lm here")
    folder = tmp_path_factory.mktemp("mlx")
    command = [sys.executable, "-m", "mlx_lm", "server", "--model", str(tiny.folder)]
    with running(command, folder / "mlx.log", "/health", HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(folder)) as engine:
        yield engine


def test_both_engines_say_the_same_and_count_the_same(llama: Engine, mlx: Engine) -> None:
    texts = set()
    for messages in prompts(8):
        one, other = llama.chat(messages), mlx.chat(messages)
        text = one["choices"][0]["message"]["content"]
        assert text == other["choices"][0]["message"]["content"]
        assert one["usage"]["prompt_tokens"] == other["usage"]["prompt_tokens"]
        texts.add(text)
    assert len(texts) == 8  # a prompt counts


@pytest.mark.parametrize("name", ["llama", "mlx"])
def test_every_reply_is_as_long_as_asked_and_each_token_shows(name: str, request: pytest.FixtureRequest) -> None:
    engine: Engine = request.getfixturevalue(name)
    for temperature in (0, 1):
        body = {"messages": prompts(1)[0], "max_tokens": 200, "temperature": temperature, "stream": True}
        pieces, finish = [], None
        with httpx.stream("POST", f"{engine.url}/v1/chat/completions", json=body, timeout=60) as response:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        pieces += [choice["delta"]["content"]] if choice["delta"].get("content") else []
                        finish = choice["finish_reason"] or finish
        assert finish == "length"
        assert len(pieces) == 200
        assert all(piece.isascii() and piece.isprintable() and piece.strip() for piece in pieces)


def test_what_is_barred_is_out_of_any_temperatures_reach(llama: Engine, tiny: Made) -> None:
    body = {"prompt": "one two three", "n_predict": 1, "temperature": 0, "n_probs": 2048}
    told = httpx.post(f"{llama.url}/completion", json=body, timeout=60).json()["completion_probabilities"][0]
    logprobs = {entry["id"]: entry["logprob"] for entry in told["top_logprobs"]}
    ordered = sorted(logprobs.values(), reverse=True)
    words = [id for id, logprob in logprobs.items() if logprob > -40]
    assert 400 < len(words) < 1000
    assert ordered[len(words)] < -60
    tokens = gguf(tiny.gguf).known["tokenizer.ggml.tokens"]
    assert all(tokens[id].startswith("Ġ") and tokens[id][1:].isalpha() for id in words)


def test_a_reply_is_split_into_the_same_tokens_when_it_is_sent_back(llama: Engine) -> None:
    """So that an agent's next turn finds the last one in the cache."""
    said = llama.chat(prompts(1)[0])["choices"][0]["message"]["content"]
    told = httpx.post(f"{llama.url}/tokenize", json={"content": said}, timeout=10).json()
    assert len(told["tokens"]) == TOKENS


@pytest.mark.parametrize("slots", [1, 4])
def test_llama_has_the_slots_the_context_and_the_name_asked_for(slots: int, start: Start) -> None:
    engine = start("-c", "8192", "-np", str(slots), "--alias", "some-name")
    props, each = engine.get("/props"), engine.get("/slots")
    assert props["total_slots"] == len(each) == slots
    assert props["default_generation_settings"]["n_ctx"] == 8192 // slots
    assert {slot["n_ctx"] for slot in each} == {8192 // slots}
    assert engine.get("/v1/models")["data"][0]["id"] == "some-name"
    assert engine.chat(prompts(1)[0], 3)["model"] == "some-name"


def test_llama_without_flags_is_as_llama_server_is(start: Start) -> None:
    engine = start()
    assert [slot["n_ctx"] for slot in engine.get("/slots")] == [8192] * 4  # of one pool
    assert httpx.get(f"{engine.url}/metrics", timeout=10).status_code == 501
    assert httpx.post(f"{engine.url}/props", json={}, timeout=10).status_code == 501


def test_llama_takes_its_key_from_the_environment(start: Start) -> None:
    engine = start("--metrics", LLAMA_API_KEY="a-key")
    assert httpx.get(f"{engine.url}/metrics", timeout=10).status_code == 401
    told = httpx.get(f"{engine.url}/metrics", headers={"Authorization": "Bearer a-key"}, timeout=10)
    assert "llamacpp:" in told.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_llama_ends_at_once_while_it_streams(number: signal.Signals, start: Start) -> None:
    engine = start("-c", "8192", "-np", "1")
    body = {"messages": prompts(1)[0], "max_tokens": 7000, "stream": True}
    with httpx.stream("POST", f"{engine.url}/v1/chat/completions", json=body, timeout=60) as response:
        lines = response.iter_lines()
        assert sum(1 for _ in zip(range(9), lines, strict=False)) == 9
        engine.child.send_signal(number)
        assert engine.child.wait(2) == 0
        with pytest.raises(httpx.TransportError):
            list(lines)


def test_llama_ends_at_once_while_it_loads(start: Start, tiny: Made) -> None:
    """While it loads it is the signal that ends it, since no Python runs then."""
    for delay_s in (0.02, 0.1, 0.2):
        child = subprocess.Popen([*LLAMA, "-m", str(tiny.gguf), "--port", "0"], stderr=subprocess.DEVNULL)
        time.sleep(delay_s)
        child.terminate()
        assert child.wait(2) in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-m", "x", "--fast", "3"], "unknown flag '--fast' (known: -m --model"),
        (["-m", "x", "--api-key", "k"], "unknown flag '--api-key'"),
        (["-m", "x", "-c"], "-c needs a value"),
        (["-m", "x", "-c", "many"], "-c cannot be 'many'"),
        (["-m", "x", "-np", "0"], "-np cannot be '0'"),
        (["-m", "x", "-fa", "maybe"], "-fa cannot be 'maybe' (known: on"),
        (["-c", "4096"], "no model is named (-m model.gguf)"),
    ],
)
def test_llama_names_what_it_cannot_use(flags: list[str], message: str, start: Start) -> None:
    ran = subprocess.run([*LLAMA, *flags], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert message in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_llama_says_why_a_file_is_no_model(start: Start, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"nothing")
    for path in (bad, tmp_path / "absent.gguf"):
        ran = subprocess.run([*LLAMA, "-m", str(path), "--port", "0"], capture_output=True, text=True, timeout=30)
        assert ran.returncode == 1
        assert f"{path} cannot be served" in ran.stderr.splitlines()[-1]
        assert "Traceback" not in ran.stderr
        assert len(ran.stderr.splitlines()) > 1  # llama.cpp's own words

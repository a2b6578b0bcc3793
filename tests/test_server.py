"""Servers from a profile to their last row: real engines, and servers that misbehave on purpose."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from infertui.profile import Profile
from infertui.server import server
from infertui.server.base import Server
from tests.conftest import Command

ODD = str(Path(__file__).with_name("odd_server.py"))
LLAMA_CPP_PYTHON = str(Path(__file__).with_name("uncompiled_llama_cpp.py"))
QUICK = ("-n", "2", "--max-tokens", "4", "--warmup", "1")
ENGINES = ("llama-server", "mlx-lm", "llama-cpp-python")


@pytest.fixture
def write(infertui: Command) -> Callable[..., None]:
    """Puts a profile into the user's folder."""

    def profile(name: str, **keys: Any) -> None:
        folder = Path(infertui.environment["INFERTUI_HOME"], "profiles")
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        (folder / f"{name}.toml").write_text("\n".join(lines) + "\n")

    return profile


@pytest.fixture
def odd(infertui: Command, write: Callable[..., None]) -> Callable[..., None]:
    """A profile of a server that does as its mode says."""

    def profile(name: str, mode: str, **keys: Any) -> None:
        command = [sys.executable, ODD, mode, str(infertui.folder / "pids"), "--port", "{port}"]
        write(name, **{"kind": "openai", "command": command, "model": "odd", **keys})

    return profile


def pids(infertui: Command) -> list[int]:
    return [int(line) for line in (infertui.folder / "pids").read_text().split()]


def nothing_is_left(infertui: Command) -> None:
    """No process and no record of any server."""
    alive = [pid for pid in pids(infertui) if psutil.pid_exists(pid)]
    assert [pid for pid in alive if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE] == []
    assert list(Path(infertui.environment["INFERTUI_HOME"], "state", "servers").glob("*.json")) == []


def last_line(ran: subprocess.CompletedProcess[str]) -> str:
    """The one line that says what is wrong."""
    said = [line for line in ran.stderr.splitlines() if line.startswith("infertui: ")]
    assert len(said) == 1, ran.stderr
    return said[0].removeprefix("infertui: ")


# Two real engines from one command.


def test_a_run_without_arguments_compares_two_real_engines(infertui: Command) -> None:
    pytest.importorskip("xllamacpp")
    pytest.importorskip("mlx_lm")
    runs = infertui.json("run", *QUICK)["runs"]
    llama, mlx = runs
    assert [run["status"] for run in runs] == ["done", "done"]
    assert [run["metrics"]["success_rate"] for run in runs] == [1.0, 1.0]
    assert (llama["facts"]["settings"]["slots"], llama["facts"]["settings"]["context"]) == (4, 4096)
    assert "--metrics" in llama["facts"]["command"]
    assert llama["facts"]["version"].startswith(("xllamacpp ", "llama.cpp "))
    assert mlx["facts"]["version"].startswith("mlx-lm ")
    for run in runs:  # whatever shows a result says what its model is
        assert run["model"].startswith("random-")
        assert any("random weights" in caveat for caveat in run["caveats"])
        assert run["metrics"]["accept_ms"]["n"] == run["metrics"]["first_answer_ms"]["n"] == 1
    if sys.platform == "linux":
        assert mlx["server"] == "embedded-mlx (CPU stand-in)"
        assert any("stand-in" in caveat for caveat in mlx["caveats"])
    shown = infertui("show", "2").stdout
    assert "random weights" in shown
    listed = infertui("list", "runs").stdout
    assert "random-" in listed
    assert ("CPU stand-in" in shown) == ("stand-in" in shown) == (sys.platform == "linux")
    assert infertui.json("show", "1")["runs"][0]["facts"] == llama["facts"]


def test_runs_of_several_servers_are_shown_side_by_side(infertui: Command, odd: Callable[..., None]) -> None:
    odd("one", "ok")
    odd("two", "ok")
    ran = infertui("run", "one", "two", *QUICK)
    assert ran.returncode == 0, ran.stderr
    (head,) = [line for line in ran.stdout.splitlines() if line.startswith("side by side")]
    assert head.split()[-2:] == ["one", "two"]
    nothing_is_left(infertui)


# Real engines, each by itself.


def profile_of(kind: str, **keys: Any) -> Profile:
    keys = {"model": "embedded", "context": 2048, **keys}
    if kind == "llama-cpp-python":
        keys["command"] = (sys.executable, LLAMA_CPP_PYTHON)
    return Profile(kind=kind, name=f"test-{kind}", **keys)


def engine(kind: str, **keys: Any) -> Server:
    for name in {"llama-server": ["xllamacpp"], "mlx-lm": ["mlx_lm"]}.get(kind, ["xllamacpp", "llama_cpp"]):
        if name == "llama_cpp":
            pytest.importorskip("fastapi")
        else:
            pytest.importorskip(name)
    return server(profile_of(kind, **keys))


@pytest.fixture(params=ENGINES)
def running(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A real engine, started by its adapter."""
    monkeypatch.setenv("INFERTUI_HOME", str(tmp_path))
    with ExitStack() as stack:
        made = engine(request.param)
        stack.callback(made.stop)
        made.start()
        yield made


def test_what_an_engine_says_of_itself(running: Server) -> None:
    assert running.health_check().state == "ready"
    assert running.is_this(running.url)
    assert running.serves(running.url)
    assert running.known.pid == running.process.record.pid  # type: ignore[union-attr]
    assert psutil.Process(running.known.pid).is_running()
    assert running.facts()["command"][-1]
    other = {"llama-server": "mlx-lm", "mlx-lm": "llama-cpp-python", "llama-cpp-python": "llama-server"}[running.kind]
    assert not server(profile_of(other)).is_this(running.url)
    ended = running.stop()
    assert ended is not None
    assert not ended.killed
    assert running.health_check().state == "stopped"


def test_an_engines_own_counts_are_ours(running: Server, infertui: Command) -> None:
    endpoint = running.endpoint()
    flags = ("--attach", endpoint.url, "--model", endpoint.model, "-n", "6", "--max-tokens", "40")
    before = metrics_of(running)
    run = infertui.run_json(*flags, "--scenario", "concurrent", "-c", "3")
    after = metrics_of(running)
    assert run["errors"] == {}
    calls = infertui.json("show", "1")["runs"][0]["call_list"]
    for call in calls:  # each token of the model is visible text: a piece of its own
        assert call["n_output"] == call["max_tokens"]
        assert call["n_pieces"] == pytest.approx(call["n_output"], rel=0.01)
        assert call["finish"] == "length"
    if running.kind == "llama-server":
        assert all(call["server_decode_n"] == call["n_output"] - 1 for call in calls)  # it counts gaps
        assert after["tokens_predicted_total"] - before["tokens_predicted_total"] == pytest.approx(
            sum(call["n_output"] for call in calls), rel=0.01
        )
        new = sum(call["n_prompt"] - (call["n_cached"] or 0) for call in calls)
        assert after["prompt_tokens_total"] - before["prompt_tokens_total"] == pytest.approx(new, rel=0.01)
    if running.kind == "llama-cpp-python":
        sent = "SELECT text, n_output FROM reply JOIN call ON call.reply_hash = reply.hash"
        with contextlib.closing(sqlite3.connect(infertui.db)) as db:
            for text, counted in db.execute(sent).fetchall():
                again = httpx.post(f"{endpoint.url}/extras/tokenize/count", json={"input": text}).json()["count"]
                assert again == pytest.approx(counted, rel=0.01)
    else:
        assert {call["n_source"] for call in calls} == {"usage"}


def metrics_of(running: Server) -> dict[str, float]:
    if running.kind != "llama-server":
        return {}
    lines = httpx.get(f"{running.url}/metrics").text.splitlines()
    pairs = [line.removeprefix("llamacpp:").split() for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def test_llama_server_takes_slots_and_context_as_the_profile_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERTUI_HOME", str(tmp_path))
    made = engine("llama-server", slots=2, context=1024)
    try:
        begun = made.start()
        assert made.settings()["slots"] == 2
        assert made.settings()["context"] == 1024
        figures = [begun.start.accept_ms, begun.start.load_ms, begun.start.first_answer_ms]
        assert all(figure is not None and figure > 0 for figure in figures)
        assert sorted(figures) == figures  # type: ignore[type-var]
    finally:
        made.stop()


def test_a_server_with_the_same_model_is_attached_to_and_another_is_an_error(
    infertui: Command, write: Callable[..., None]
) -> None:
    pytest.importorskip("xllamacpp")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{one.getsockname()[1]}"
    write("mine", kind="llama-server", model="embedded", slots=1, address=address)
    write("same", kind="llama-server", model="embedded", slots=4, address=address)
    write("other", kind="llama-server", model=str(infertui.folder / "other.gguf"), address=address)
    write("alien", kind="mlx-lm", model="embedded", address=address)
    (infertui.folder / "other.gguf").write_bytes(b"GGUF")
    assert infertui("server", "start", "mine").returncode == 0
    try:
        ran = infertui("run", "same", *QUICK)
        assert ran.returncode == 0, ran.stderr
        assert f"attached to {address}, which runs already" in ran.stderr
        assert httpx.get(f"{address}/health").status_code == 200  # what we did not start goes on
        ran = infertui("run", "other", *QUICK)
        assert ran.returncode == 3
        assert "is in use by" in last_line(ran)
        assert "llama.cpp's server with random-" in last_line(ran)
        if sys.platform == "linux":
            ran = infertui("run", "alien", *QUICK)
            assert "which is not mlx_lm.server" in last_line(ran)
    finally:
        assert infertui("server", "stop", "mine").returncode == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/health")


# One server at a time.


def test_one_server_is_in_memory_at_a_time_and_each_start_is_warmed_up(
    infertui: Command, odd: Callable[..., None]
) -> None:
    odd("one", "ok")
    odd("two", "ok")
    ran = infertui("run", "one", "two", "--rounds", "2", *QUICK, "--events")
    assert ran.returncode == 0, ran.stderr
    said = [json.loads(line) for line in ran.stdout.splitlines()]
    steps = [
        (each["run"], each.get("state") or each["role"])
        for each in said
        if each["event"] == "block_started" or each.get("state") in ("ready", "stopped")
    ]
    turn = ["ready", "warmup", "measured"]
    first = [(1, step) for step in [*turn, "stopped"]] + [(2, step) for step in turn]
    second = [(2, "measured"), (2, "stopped")] + [(1, step) for step in [*turn, "stopped"]]
    assert steps == first + second  # rounds are rotated, so that the second server goes on without a restart
    assert infertui.json("show", "1")["runs"][0]["metrics"]["accept_ms"]["n"] == 2
    assert infertui.json("show", "2")["runs"][0]["metrics"]["accept_ms"]["n"] == 1
    nothing_is_left(infertui)


def test_the_profile_says_how_calls_are_made_and_the_command_line_overrules_it(
    infertui: Command, odd: Callable[..., None]
) -> None:
    odd("one", "ok", max_tokens=3, temperature=0.5, top_p=0.9)
    run = infertui.run_json("one", "-n", "1")
    setup = run["setup"]
    assert (setup["max_tokens"], setup["temperature"], setup["top_p"]) == (3, 0.5, 0.9)
    run = infertui.run_json("one", "-n", "1", "--max-tokens", "2", "--temperature", "0")
    assert (run["setup"]["max_tokens"], run["setup"]["temperature"]) == (2, 0)


def test_what_a_server_wrote_is_kept_with_the_run(infertui: Command, odd: Callable[..., None]) -> None:
    odd("broken", "dying")
    infertui("run", "broken", *QUICK)
    shown = infertui("show", "last", "--log")
    assert "error: tensor 'output.weight' is ␛[31mmissing␛[0m" in shown.stdout


# Bad cases: one clear line each, and a clean state.

BAD = {
    "dies while loading": (
        {"mode": "dying"},
        "died while loading (exit code 3): error: tensor 'output.weight' is ␛[31mmissing␛[0m",
    ),
    "says that it is well": (
        {"mode": "lying", "ready_s": 1.0},
        'is not ready after 1 s: it says that it is ready, but a one-token request gets 503: {"error"',
    ),
    "never answers": (
        {"mode": "silent", "ready_s": 1.0},
        "is not ready after 1 s: it says that it is ready, but: http://127.0.0.1:",
    ),
    "refuses": ({"mode": "refusing"}, "it says that it is ready, but a one-token request gets 400: "),
}


@pytest.mark.parametrize("case", BAD)
def test_a_server_that_does_not_come_to_serve_is_recorded_and_the_others_go_on(
    infertui: Command, odd: Callable[..., None], case: str
) -> None:
    keys, said = BAD[case]
    odd("bad", **keys)
    odd("good", "ok")
    ran = infertui("run", "bad", "good", *QUICK)
    assert ran.returncode == 3
    assert last_line(ran).startswith(("bad died", "bad is not ready", "bad: it says"))
    assert said in last_line(ran)
    assert "(its log: " in last_line(ran) or "its log: " in last_line(ran)
    runs = infertui.json("list", "runs")["runs"]
    assert [(run["server"], run["status"]) for run in runs] == [("good", "done"), ("bad", "failed")]
    assert said in runs[1]["message"]
    nothing_is_left(infertui)


def test_a_fallback_takes_the_place_of_one_that_does_not_start(infertui: Command, odd: Callable[..., None]) -> None:
    odd("bad", "dying")
    odd("good", "ok")
    odd("spare", "ok")
    settings = 'servers = ["bad", "good"]\nbaseline = "good"\nfallback = "spare"\n'
    Path(infertui.environment["INFERTUI_HOME"], "settings.toml").write_text(settings)
    ran = infertui("run", *QUICK, "--json")
    assert ran.returncode == 3
    runs = json.loads(ran.stdout)["runs"]
    assert [(run["server"], run["status"]) for run in runs] == [("bad", "failed"), ("good", "done"), ("spare", "done")]
    assert "in the place of bad, which did not start" in runs[2]["warnings"]
    nothing_is_left(infertui)


def test_a_server_that_dies_in_a_run_ends_it_and_what_was_measured_is_kept(
    infertui: Command, odd: Callable[..., None]
) -> None:
    odd("fragile", "fragile")
    odd("good", "ok")
    ran = infertui("run", "fragile", "good", "-n", "8", "--max-tokens", "4")
    assert ran.returncode == 3
    assert last_line(ran).startswith("fragile died (killed by SIGKILL): out of memory")
    good, bad = infertui.json("list", "runs")["runs"]
    assert (good["status"], bad["status"]) == ("done", "failed")
    calls = infertui.json("show", "1")["runs"][0]["call_list"]
    assert sum(call["outcome"] == "ok" for call in calls) == 3  # one was the proof that it serves
    nothing_is_left(infertui)


def test_a_server_that_hangs_at_its_end_is_killed_and_said(infertui: Command, odd: Callable[..., None]) -> None:
    odd("deaf", "deaf", stop_s=0.3)
    run = infertui.run_json("deaf", *QUICK)
    assert "deaf did not end within 0.3 s of SIGTERM: it was killed" in run["warnings"]
    nothing_is_left(infertui)


def test_a_port_that_another_program_holds_is_named(infertui: Command, odd: Callable[..., None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        odd("mine", "ok", address=f"http://127.0.0.1:{port}")
        ran = infertui("run", "mine", *QUICK)
    assert ran.returncode == 3
    assert f"mine: port {port} is in use by" in last_line(ran)
    assert f"(pid {os.getpid()})" in last_line(ran)


WRONG = {
    "an unknown profile": (["run", "embeded-llama"], "no profile `embeded-llama` (did you mean embedded-llama?"),
    "no model": (["run", "llama-server"], "none is named (infertui run llama-server --model FILE)"),
    "a missing model": (["run", "llama-server", "--model", "/no/such.gguf"], "there is no file '/no/such.gguf'"),
    "a model elsewhere": (["run", "mlx-lm", "--model", "mlx-community/x-4bit"], "hf download mlx-community/x-4bit"),
    "a wrong size": (["run", "llama-server", "--model", "embedded:huge"], "tiny"),
    "a profile twice": (["run", "embedded-llama", "embedded-llama"], "a profile is named twice"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_started_is_said_before_anything_is(infertui: Command, case: str) -> None:
    flags, said = WRONG[case]
    ran = infertui(*flags)
    assert ran.returncode == 2, ran.stderr
    assert said in last_line(ran)
    assert not infertui.db.exists()


def test_a_missing_program_is_said_with_its_line(infertui: Command, write: Callable[..., None]) -> None:
    write("mine", kind="llama-server", model="embedded", command=["no-such-program"])
    ran = infertui("run", "mine")
    assert ran.returncode == 2
    assert last_line(ran).startswith(f"{infertui.environment['INFERTUI_HOME']}/profiles/mine.toml:3: command: ") or (
        "mine.toml:3: command: there is no program 'no-such-program'" in last_line(ran)
    )


def test_without_any_engine_the_line_that_adds_them_is_said(infertui: Command) -> None:
    code = """
import importlib.util, sys, shutil
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in ("xllamacpp", "mlx_lm") else real(name, *rest)
shutil.which = lambda *_, **__: None
sys.argv = ["infertui", "run"]
from infertui.cli import main
main()
"""
    environment = {**infertui.environment, "INFERTUI_DB": str(infertui.db)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert ran.returncode == 3
    assert last_line(ran).startswith("no engine is installed (pip install 'infertui[llama,mlx]'")


# The user, and the system, in between.


def wait_for(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_ctrl_c_while_a_server_loads_leaves_nothing(infertui: Command, odd: Callable[..., None]) -> None:
    odd("slow", "silent")
    with infertui.start("run", "slow", *QUICK) as child:
        wait_for(lambda: (infertui.folder / "pids").is_file() and bool(pids(infertui)))
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=30)
    assert child.returncode == 130, said
    assert infertui.json("list", "runs")["runs"][0]["status"] == "stopped"
    nothing_is_left(infertui)


def test_a_run_that_is_killed_takes_its_server_with_it(infertui: Command, odd: Callable[..., None]) -> None:
    odd("one", "ok")
    with infertui.start("run", "one", "-n", "5000", "--max-tokens", "20", "--events") as child:
        assert child.stdout is not None
        while '"call_ended"' not in child.stdout.readline():
            pass
        child.kill()
    wait_for(lambda: all(not psutil.pid_exists(pid) for pid in pids(infertui)))
    ran = infertui("list", "runs")
    assert "run 1 was cut off" in ran.stderr
    nothing_is_left(infertui)


def test_two_infertuis_at_once_leave_each_others_servers_alone_and_say_so(
    infertui: Command, odd: Callable[..., None]
) -> None:
    odd("one", "ok")
    odd("two", "ok")
    with infertui.start("run", "one", "-n", "5000", "--max-tokens", "20", "--events") as child:
        assert child.stdout is not None
        while '"call_ended"' not in child.stdout.readline():
            pass
        run = infertui.run_json("two", *QUICK)
        (doubt,) = [doubt for doubt in run["doubts"] if doubt["key"] == "infertui"]
        assert doubt["text"] == f"another InferTUI (pid {child.pid}) measures on this machine: both disturb each other"
        assert run["suspicious"]
        assert run["status"] == "done"
        assert psutil.pid_exists(pids(infertui)[0])
        assert child.poll() is None
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)
    assert child.returncode == 130
    nothing_is_left(infertui)


def test_a_server_that_is_killed_in_the_last_block_is_never_done(infertui: Command, odd: Callable[..., None]) -> None:
    odd("one", "ok")
    with infertui.start("run", "one", "-n", "400", "--max-tokens", "20", "--events") as child:
        assert child.stdout is not None
        while '"measured"' not in child.stdout.readline():
            pass
        os.kill(pids(infertui)[0], signal.SIGKILL)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 3
    assert "one died (killed by SIGKILL)" in said
    assert infertui.json("list", "runs")["runs"][0]["status"] == "failed"
    nothing_is_left(infertui)


def test_an_attached_server_that_goes_away_in_a_run_fails_it(infertui: Command, odd: Callable[..., None]) -> None:
    odd("one", "ok")
    assert infertui("server", "start", "one").returncode == 0
    with infertui.start("run", "one", "-n", "400", "--max-tokens", "20", "--events") as child:
        assert child.stdout is not None
        while '"measured"' not in child.stdout.readline():
            pass
        ran = infertui("server", "stop", "one")
        assert ran.returncode == 3  # a run may be using it
        assert f"may be used by the run of pid {child.pid}" in last_line(ran)
        assert infertui("server", "stop", "one", "--force").returncode == 0
        _, said = child.communicate(timeout=60)
    assert child.returncode == 3
    assert "nothing answers at" in said
    nothing_is_left(infertui)


def test_ctrl_c_twice_does_not_wait_for_a_server_that_does_not_hear(
    infertui: Command, odd: Callable[..., None]
) -> None:
    odd("deaf", "deaf", stop_s=60.0)
    with infertui.start("run", "deaf", "-n", "1", "--max-tokens", "2", "--events") as child:
        assert child.stdout is not None
        while '"stopping"' not in child.stdout.readline():
            pass
        child.send_signal(signal.SIGINT)
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)
    nothing_is_left(infertui)


def test_a_page_that_drips_does_not_hold_up_a_start(infertui: Command, write: Callable[..., None]) -> None:
    command = [sys.executable, ODD, "dripping", str(infertui.folder / "pids")]
    write("slow", kind="llama-server", model="embedded", command=command, ready_s=1.0)
    ran = infertui("run", "slow", *QUICK)
    assert "slow is not ready after 1 s" in last_line(ran)
    nothing_is_left(infertui)


def test_what_answers_at_the_port_has_to_be_the_server_that_was_started(
    infertui: Command, write: Callable[..., None]
) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    other = [sys.executable, ODD, "ok", str(infertui.folder / "pids"), "--port", str(port)]
    code = f"import subprocess, time; subprocess.Popen({other!r}, start_new_session=True, env={{}}); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1.5)\n" + code]) as intruder:
        write(
            "mine",
            kind="llama-server",
            model="embedded",
            address=f"http://127.0.0.1:{port}",
            command=[sys.executable, "-c", "import time; time.sleep(60)"],
        )
        ran = infertui("run", "mine", *QUICK)
        for pid in pids(infertui):
            os.kill(pid, signal.SIGKILL)
        intruder.kill()
    assert ran.returncode == 3
    assert f"port {port} is in use by python" in last_line(ran)
    assert "is not the server that was started" in last_line(ran)


# Keys.


def holds(infertui: Command, secret: str) -> list[Path]:
    """Files under the test's folder that hold the secret, logs of servers apart."""
    files = [path for path in infertui.folder.rglob("*") if path.is_file() and path.suffix != ".log"]
    return [path for path in files if secret.encode() in path.read_bytes()]


def test_a_key_that_the_server_says_again_is_neither_shown_nor_stored(
    infertui: Command, odd: Callable[..., None]
) -> None:
    infertui.environment["ODD_KEY"] = "canary-4711"
    odd("echo", "echoing", api_key_env="ODD_KEY")
    ran = infertui("run", "echo", *QUICK)
    assert ran.returncode == 3
    assert "no such key: " in ran.stderr
    assert "canary-4711" not in ran.stdout + ran.stderr
    assert "canary-4711" not in infertui("show", "last", "--log").stdout
    with contextlib.closing(sqlite3.connect(infertui.db)) as db:
        ((log,),) = db.execute("SELECT log FROM start").fetchall()
    assert b"Authorization: Bearer \xe2\x80\xa6" in zlib.decompress(log)
    assert holds(infertui, "canary-4711") == []


def test_a_key_with_a_line_end_is_said_without_it(infertui: Command, odd: Callable[..., None]) -> None:
    infertui.environment["ODD_KEY"] = "canary-4711\r"
    odd("one", "ok", api_key_env="ODD_KEY")
    ran = infertui("run", "one", *QUICK)
    assert ran.returncode == 2
    assert "one.toml:4: api_key_env: the variable ODD_KEY holds characters that no HTTP header can carry" in last_line(
        ran
    )
    assert "canary" not in ran.stderr + ran.stdout


def test_the_environment_of_the_user_does_not_change_a_server(infertui: Command) -> None:
    pytest.importorskip("xllamacpp")
    infertui.environment |= {"LLAMA_API_KEY": "x", "LLAMA_ARG_CTX_SIZE": "512"}
    environment = {**os.environb, **{key.encode(): value.encode() for key, value in infertui.environment.items()}}
    environment[b"NOT_UTF_8"] = b"\xff"
    command = [sys.executable, "-m", "infertui", "run", "embedded-llama", *QUICK, "--json", "--db", str(infertui.db)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=infertui.folder)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["runs"][0]["facts"]["settings"]["context"] == 4096


# What is told to programs, and side by side.


def test_lists_and_events_hold_what_has_to_be_said(infertui: Command) -> None:
    pytest.importorskip("xllamacpp")
    ran = infertui("run", "embedded-llama", *QUICK, "--events")
    (began,) = [said for line in ran.stdout.splitlines() if (said := json.loads(line))["event"] == "run_started"]
    (listed,) = infertui.json("list", "runs")["runs"]
    assert began["caveats"] == listed["caveats"] == infertui.json("show", "1")["runs"][0]["caveats"]
    assert "random weights" in began["caveats"][0]
    assert infertui.json("show", "1")["runs"][0]["facts"]["threads"] >= 1


def test_side_by_side_marks_what_is_no_whole_run(infertui: Command, odd: Callable[..., None]) -> None:
    odd("bad", "dying")
    odd("good", "ok")
    infertui("run", "bad", "good", *QUICK)
    shown = infertui("show", "1", "2")
    assert shown.returncode == 0
    (state,) = [line.split() for line in shown.stdout.splitlines() if line.startswith("State")]
    assert state[1:] == ["failed", "done"] or state[1:] == ["failed", "not", "valid"]
    assert any(line.split() == ["Good", "calls", "0", "of", "0", "2", "of", "2"] for line in shown.stdout.splitlines())


def test_settings_that_name_no_profile_are_said_with_their_line(infertui: Command) -> None:
    home = Path(infertui.environment["INFERTUI_HOME"])
    (home / "settings.toml").write_text('# mine\nservers = ["embedded-lama"]\n')
    ran = infertui("run", *QUICK)
    assert ran.returncode == 2
    assert "settings.toml:2: servers: no profile `embedded-lama`" in last_line(ran)
    assert "embedded-llama" in last_line(ran)


def test_a_fallback_that_cannot_be_used_costs_nothing(infertui: Command, odd: Callable[..., None]) -> None:
    odd("good", "ok")
    home = Path(infertui.environment["INFERTUI_HOME"])
    (home / "settings.toml").write_text('servers = ["good"]\nfallback = "llama-server"\n')
    ran = infertui("run", *QUICK)
    assert ran.returncode == 0, ran.stderr
    assert "! the fallback cannot be used: " in ran.stderr


def test_what_is_not_part_of_a_start_does_not_start_another(infertui: Command) -> None:
    same = server(profile_of("llama-server"))
    assert server(profile_of("llama-server", temperature=1.0, about="x", ready_s=5.0)).digest() == same.digest()
    assert server(profile_of("llama-server", slots=2)).digest() != same.digest()

"""The command as a user runs it: figures, files, wrong input, kills."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infertui import event
from infertui.metric import METRICS
from infertui.mock import Server
from infertui.scenario import NAMES
from tests.conftest import Command

Serve = Callable[..., Server]
QUICK = ("--max-tokens", "8", "-n", "3")


# Measuring.


def test_run_prints_one_object_with_every_metric(infertui: Command, served: Serve) -> None:
    url = served(tokens=8, gap_ms=5).address
    run = infertui.run_json("--attach", url, "--model", "mock", "-n", "12", "--max-tokens", "8", "--label", "first")
    assert (run["id"], run["model"], run["scenario"], run["label"]) == (1, "mock", "single", "first")
    assert run["errors"] == {}
    assert run["calls"] == 12
    assert (run["setup"]["api"], run["setup"]["stream"], run["setup"]["cache"]) == ("chat", True, "cold")
    metrics = run["metrics"]
    assert set(metrics["ttft_ms"]) == {"n", "mean", "min", "p50", "p90", "p95", "p99", "max"}
    assert metrics["ttft_ms"]["n"] == 12
    assert 12 <= metrics["itl_ms"]["n"] <= 12 * 7  # two tokens may come in one read
    assert metrics["ttft_ms"]["p90"] is not None
    assert metrics["ttft_ms"]["p95"] is None
    assert metrics["success_rate"] == 1.0
    assert set(metrics) <= set(METRICS)
    assert {"lag_p99_ms", "cpu_s", "cpu_us_per_token"} <= set(run["generator"])
    # The schedule is known: 20 ms, then 7 gaps of 5 ms. Nothing can be sooner.
    assert metrics["ttft_ms"]["min"] >= 20
    assert metrics["e2e_ms"]["min"] >= 55
    assert metrics["output_tps"] == pytest.approx(12 * 8 / metrics["wall_s"])


def test_show_adds_up_to_what_run_printed(infertui: Command, served: Serve) -> None:
    url = served(tokens=8, per_chunk=2, faults="500", fault_every=4).address
    flags = ("--scenario", "concurrent", "-c", "2", "-n", "6", "--max-tokens", "8", "--rounds", "2")
    ran = infertui.run_json("--attach", url, *flags)
    shown = infertui.json("show", "last")["runs"][0]
    calls = shown.pop("call_list")
    assert shown.pop("targets") == []
    samples = shown.pop("sample_list")
    assert shown == ran
    assert {sample["source"] for sample in samples} == set(ran["telemetry"]["sources"])
    assert [call["role"] for call in calls].count("measured") == 12


def test_the_model_is_asked_for_where_none_is_named(infertui: Command, served: Serve) -> None:
    assert infertui.run_json("--attach", served(model="only-one").address, *QUICK)["model"] == "only-one"


def test_a_table_on_stdout_and_narration_on_stderr(infertui: Command, served: Serve) -> None:
    ran = infertui("run", "--attach", served(tokens=8).address, *QUICK)
    assert ran.returncode == 0
    assert "Time to first token" in ran.stdout
    assert "Success rate 100 %" in ran.stdout
    assert "run 1: single on" in ran.stderr
    assert "warm-up" in ran.stderr


def test_concurrent_finds_a_serial_and_a_parallel_server(infertui: Command, served: Serve) -> None:
    flags = ("--scenario", "concurrent", "-c", "4", "-n", "8", "--max-tokens", "20")
    serial = infertui.run_json("--attach", served(tokens=20, gap_ms=4, slots=1).address, *flags)
    parallel = infertui.run_json("--attach", served(tokens=20, gap_ms=4, slots=4).address, *flags)
    assert serial["metrics"]["speedup"] < 1.3
    assert parallel["metrics"]["speedup"] > 2
    assert serial["metrics"]["calls_in_flight"] > 2  # they are under way, and wait
    assert serial["metrics"]["queue_ms"]["p50"] > parallel["metrics"]["queue_ms"]["p50"] + 50
    calls = infertui.json("show", "1")["runs"][0]["call_list"]
    assert {call["queue_source"] for call in calls if call["role"] == "measured"} == {"unloaded"}


def test_several_servers_take_turns(infertui: Command, served: Serve) -> None:
    one, two = served(tokens=8), served(tokens=8)
    flags = ("--attach", one.address, "--attach", two.address, "--rounds", "3", *QUICK, "--events")
    ran = infertui("run", *flags)
    started = [said for line in ran.stdout.splitlines() if (said := json.loads(line))["event"] == "block_started"]
    measured = [(said["round"], said["run"]) for said in started if said["role"] == "measured"]
    assert measured == [(1, 1), (1, 2), (2, 2), (2, 1), (3, 1), (3, 2)]
    first, second = (infertui.json("show", number)["runs"][0]["call_list"] for number in "12")
    assert [call["prompt_id"] for call in first] == [call["prompt_id"] for call in second]


def test_a_field_that_the_server_refuses_is_left_out_and_said(infertui: Command, served: Serve) -> None:
    run = infertui.run_json("--attach", served(tokens=8, reject="stream_options,temperature").address, *QUICK)
    assert run["errors"] == {}
    assert "the server refuses `stream_options`: it is left out" in run["warnings"]
    assert "the server refuses `temperature`: it is left out" in run["warnings"]
    assert run["token_source"] == "pieces:3"


@pytest.mark.parametrize("api", ["completions", "native"])
def test_other_apis(infertui: Command, served: Serve, api: str) -> None:
    run = infertui.run_json("--attach", served(tokens=8).address, "--api", api, *QUICK)
    assert run["metrics"]["success_rate"] == 1.0
    assert run["metrics"]["ttft_ms"]["n"] == 3


def test_ollamas_own_api_is_found(infertui: Command, served: Serve) -> None:
    run = infertui.run_json("--attach", served(tokens=8, ollama=True).address, "--api", "native", *QUICK)
    assert run["metrics"]["queue_ms"]["n"] == 3


def test_replies_in_one_piece_have_no_first_token(infertui: Command, served: Serve) -> None:
    run = infertui.run_json("--attach", served(tokens=8).address, "--no-stream", *QUICK)
    assert run["metrics"]["ttft_ms"]["n"] == 0
    assert run["metrics"]["e2e_ms"]["n"] == 3


def test_each_call_begins_with_a_nonce_of_its_own(infertui: Command) -> None:
    import http.server
    import threading

    prompts: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompts.append(asked["messages"][0]["content"])
            body = b'{"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        for cache in ("cold", "cold", "warm"):
            infertui.run_json(
                "--attach", url, "--model", "m", "--no-stream", "-n", "2", "--warmup", "0", "--cache", cache
            )
        server.shutdown()
    nonces = [prompt.partition("\n")[0] for prompt in prompts]
    assert all(len(nonce) == 19 and nonce.replace(" ", "").isdigit() for nonce in nonces[:4])
    assert len(set(nonces[:4])) == 4
    assert [prompt.partition("\n")[2] for prompt in prompts[:2]] == prompts[4:]


def test_targets_count_the_calls_that_keep_them(infertui: Command, served: Serve) -> None:
    flags = ("--target", "ttft_ms<10000", "--target", "e2e_ms<1")
    run = infertui.run_json("--attach", served(tokens=8).address, *QUICK, *flags)
    assert run["metrics"]["goodput_per_min"] == 0.0
    shown = infertui("show", "last", *flags)
    assert "Time to first token ≤ 10,000 ms" in shown.stdout
    assert "all of them" in shown.stdout
    assert shown.stdout.count("  missed  ") == 3


def test_list_show_and_replies(infertui: Command, served: Serve) -> None:
    none = infertui("list")
    assert none.stderr == f"no runs yet: there is no database at {infertui.db} (`infertui run` makes it)\n"
    assert infertui.json("list") == {"runs": []}
    assert not infertui.db.exists()
    infertui.run_json("--attach", served(tokens=8).address, *QUICK, "--label", "mine")
    listed = infertui("list", "runs")
    assert "mine" in listed.stdout
    assert infertui.json("list", "runs")["runs"][0]["metrics"]["success_rate"] == 1.0
    assert "r1-003" in infertui("show", "mine").stdout
    assert infertui("show", "mine", "--reply", "r1-001").stdout == " the model reads a long prompt and then\n"
    assert infertui("show", "mine", "--reply", "r9").returncode == 2
    assert [each["name"] for each in infertui.json("list", "scenarios")["scenarios"]] == list(NAMES)


# What a program reads.


def test_without_a_command_the_app_wants_a_terminal(infertui: Command) -> None:
    ran = infertui()
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "infertui: the app needs a terminal (`infertui --help` lists what works without one)\n"
    ran = infertui("--db", "x.db", "list")
    assert ran.returncode == 2
    assert ran.stderr == "infertui: --db stands after the command (infertui list --db x.db …)\n"


def test_events_are_lines_and_hold_every_end_of_a_call(infertui: Command, served: Serve) -> None:
    ran = infertui("run", "--attach", served(tokens=60, gap_ms=5).address, "-n", "3", "--max-tokens", "60", "--events")
    events = [event.parse(line.encode()) for line in ran.stdout.splitlines()]
    assert None not in events
    assert isinstance(events[0], event.RunStarted)
    assert isinstance(events[-1], event.RunEnded)
    ended = [each.call.name for each in events if isinstance(each, event.CallEnded)]
    assert ended == ["warmup-001", "r1-001", "r1-002", "r1-003"]
    assert all(each.stored for each in events if isinstance(each, event.CallEnded))
    assert any(isinstance(each, event.Ticked) and each.tokens for each in events)
    assert event.parse(b'{"event": "of_the_future", "v": 9}') is None


def test_a_reader_that_stops_reading_misses_ticks_but_no_ends(infertui: Command, served: Serve) -> None:
    url = served(tokens=2, gap_ms=1, ttft_ms=2).address
    flags = (
        "run",
        "--attach",
        url,
        "--scenario",
        "concurrent",
        "-c",
        "8",
        "-n",
        "400",
        "--max-tokens",
        "2",
        "--events",
    )
    with infertui.start(*flags) as child:
        time.sleep(3)  # the pipe is full by now, and nobody was waited for
        out, _ = child.communicate(timeout=60)
    said = [json.loads(line) for line in out.splitlines()]
    assert sum(each["event"] == "call_ended" and each["call"]["role"] == "measured" for each in said) == 400


def test_a_reader_that_goes_away_stops_the_run_kindly(infertui: Command, served: Serve) -> None:
    with infertui.start("run", "--attach", served(tokens=20, gap_ms=10).address, "-n", "200", "--events") as child:
        assert child.stdout is not None
        while json.loads(child.stdout.readline())["event"] != "call_ended":
            pass
        child.stdout.close()
        child.wait(timeout=30)
    run = infertui.json("list", "runs")["runs"][0]
    assert run["status"] == "stopped"
    assert child.returncode == 130


def test_a_reader_that_comes_late_gets_every_end(infertui: Command, served: Serve) -> None:
    url = served(tokens=2, gap_ms=1, ttft_ms=2).address
    flags = (
        "run",
        "--attach",
        url,
        "--scenario",
        "concurrent",
        "-c",
        "8",
        "-n",
        "200",
        "--max-tokens",
        "2",
        "--events",
    )
    with infertui.start(*flags) as child:
        time.sleep(9)  # the run is over for longer than anybody would wait
        assert child.poll() is None
        out, _ = child.communicate(timeout=60)
    said = [json.loads(line) for line in out.splitlines()]
    assert sum(each["event"] == "call_ended" and each["call"]["role"] == "measured" for each in said) == 200
    assert said[-1]["event"] == "run_ended"


def test_help_loads_nothing_slow() -> None:
    slow = ["asyncio", "uvloop", "httptools", "msgspec", "rich", "httpx", "sqlite3", "sqlite_utils", "psutil", "json"]
    code = f"""
import sys, infertui.cli
try: infertui.cli.cli.main(["--help"], standalone_mode=False)
finally: print([name for name in {slow} if name in sys.modules], file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Measure" in ran.stdout
    assert ran.stderr.strip() in ("[]", "['json']")


def test_a_run_loads_nothing_that_it_does_not_need(infertui: Command, served: Serve) -> None:
    url = served(tokens=2).address
    infertui.run_json("--attach", url, "--model", "m", "-n", "1")
    slow = ["sqlite_utils", "httpx", "rich", "plotext", "textual", "numpy"]
    for output in ("--events", "--json"):
        code = f"""
import sys, infertui.cli, infertui.report.live
infertui.report.live.TOLD_EVERY_S = 0
flags = ["run", "--attach", {url!r}, "--model", "m", "-n", "40", {output!r}, "--db", {str(infertui.db)!r}]
infertui.cli.cli.main(flags, standalone_mode=False)
print([name for name in {slow} if name in sys.modules], file=sys.stderr)
"""
        command = [sys.executable, "-c", code]
        ran = subprocess.run(command, env=infertui.environment, capture_output=True, text=True, check=True)
        assert ran.stderr.splitlines()[-1] == "[]"
        assert ("under way" in ran.stderr) == (output == "--json")


# Ends before the end.


def events_until(child: subprocess.Popen[str], name: str, count: int) -> list[dict[str, Any]]:
    assert child.stdout is not None
    seen: list[dict[str, Any]] = []
    while sum(each["event"] == name for each in seen) < count:
        line = child.stdout.readline()
        assert line, "the run ended too soon"
        seen.append(json.loads(line))
    return seen


def until(what: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def until_stored(path: Path, count: int) -> None:
    """Wait until that many measured calls are in the database."""

    def there() -> bool:
        if not path.exists():
            return False
        with contextlib.closing(sqlite3.connect(path)) as db, contextlib.suppress(sqlite3.OperationalError):
            return int(db.execute("SELECT count(*) FROM call WHERE role = 'measured'").fetchone()[0]) >= count
        return False

    until(there)


LONG = ("--scenario", "concurrent", "-c", "4", "-n", "400", "--no-alone", "--max-tokens", "20")


def test_ctrl_c_once_reports_what_was_measured(infertui: Command, served: Serve) -> None:
    with infertui.start("run", "--attach", served(tokens=20, gap_ms=4).address, *LONG, "--json") as child:
        until_stored(infertui.db, 8)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    run = json.loads(out)["runs"][0]
    assert child.returncode == 130
    assert run["status"] == "stopped"
    assert 0 < run["calls"] < 400
    assert run["metrics"]["success_rate"] == 1.0
    assert "stopping: what is under way may finish" in err
    assert infertui.json("show", "last")["runs"][0]["metrics"] == run["metrics"]


def test_ctrl_c_twice_stops_at_once(infertui: Command, served: Serve) -> None:
    server = served(ttft_ms=20_000)
    with infertui.start("run", "--attach", server.address, "--warmup", "0", *LONG, "--json") as child:
        until(lambda: server.stats()["active"] == 4)
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=4)
    assert child.returncode == 130
    assert json.loads(out)["runs"][0]["errors"] == {"cancelled": 4}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux leaves connections to a full backlog waiting")
def test_ctrl_c_twice_also_ends_a_run_that_is_still_connecting(infertui: Command) -> None:
    import socket

    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        with infertui.start("run", "--attach", url, "--model", "m", "--timeout", "connect=60") as child:
            time.sleep(1.5)
            child.send_signal(signal.SIGINT)
            child.send_signal(signal.SIGINT)
            assert child.wait(timeout=5) == 130
        for each in waiting:
            each.close()


def test_ctrl_c_is_heard_while_another_program_holds_the_database(infertui: Command, served: Serve) -> None:
    url = served(tokens=20, gap_ms=4).address
    infertui.run_json("--attach", url, *QUICK)
    with infertui.start("run", "--attach", url, *LONG, "--json") as child:
        until_stored(infertui.db, 3 + 8)
        with sqlite3.connect(infertui.db, isolation_level=None) as db:
            db.execute("BEGIN IMMEDIATE")
            child.send_signal(signal.SIGINT)
            time.sleep(1.5)
            db.execute("ROLLBACK")
        db.close()
        out, _ = child.communicate(timeout=30)
    run = json.loads(out)["runs"][0]
    assert (child.returncode, run["status"]) == (130, "stopped")
    assert len(infertui.json("show", "last")["runs"][0]["call_list"]) >= run["calls"]


def test_a_run_under_nohup_goes_on_when_the_terminal_is_closed(infertui: Command, served: Serve) -> None:
    def deaf() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    flags = ("run", "--attach", served(tokens=20, gap_ms=4).address, "-n", "12", "--max-tokens", "20", "--json")
    with infertui.start(*flags, preexec_fn=deaf) as child:
        time.sleep(1.2)
        child.send_signal(signal.SIGHUP)
        out, _ = child.communicate(timeout=30)
    assert (child.returncode, json.loads(out)["runs"][0]["status"]) == (0, "done")


def test_kill_9_leaves_every_call_that_had_ended(infertui: Command, served: Serve) -> None:
    with infertui.start("run", "--attach", served(tokens=20, gap_ms=2).address, *LONG, "--events") as child:
        seen = events_until(child, "call_ended", 25)
        child.kill()
        rest = child.stdout.read() if child.stdout else ""
    for line in rest.splitlines(keepends=True):
        if line.endswith("\n"):
            seen.append(json.loads(line))
    announced = {each["call"]["name"] for each in seen if each["event"] == "call_ended"}
    with sqlite3.connect(infertui.db) as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        stored = {row[0] for row in db.execute("SELECT name FROM call")}
        assert db.execute("SELECT status FROM run").fetchone()[0] == "running"
    db.close()
    assert announced <= stored
    listed = infertui("list", "runs")
    assert "run 1 was cut off: what it had measured is kept" in listed.stderr
    assert "interrupted" in listed.stdout
    assert "–" not in listed.stdout  # it is added up from its calls
    shown = infertui.json("show", "1")["runs"][0]
    assert shown["status"] == "interrupted"
    assert shown["metrics"]["ttft_ms"]["n"] == len([name for name in stored if name.startswith("r1")])
    assert infertui("list", "runs").stderr == ""


# Wrong input, and servers that fail.

WRONG = {
    "no address": (["run", "--attach", "not an address", "--model", "m"], 2, "not an address of a server"),
    "a wrong port": (["run", "--attach", "http://127.0.0.1:99999", "--model", "m"], 2, "is not an address"),
    "a password": (["run", "--attach", "http://me:secret@127.0.0.1:1"], 2, "holds a name or a password"),
    "a wrong scenario": (["run", "--attach", "x:1", "--scenario", "singel"], 2, "did you mean 'single'?"),
    "no requests": (["run", "--attach", "x:1", "--model", "m", "-n", "0"], 2, "--requests 0: it takes 1 to"),
    "a wrong kind": (["run", "--attach", "x:1", "--model", "m", "--kind", "codng"], 2, "did you mean coding?"),
    "a word for a number": (["run", "--attach", "x:1", "-n", "many"], 2, "'many' is not a valid integer"),
    "an unknown flag": (["run", "--atach", "x:1"], 2, "No such option '--atach'"),
    "an unknown command": (["runn"], 2, "No such command 'runn'"),
    "a flag without effect": (["run", "--attach", "x:1", "--model", "m", "-c", "8"], 2, "no effect on single"),
    "a number for a label": (["run", "--attach", "x:1", "--model", "m", "--label", "3"], 2, "how runs are numbered"),
    "last for a label": (["run", "--attach", "x:1", "--model", "m", "--label", "last"], 2, "means the newest run"),
    "no temperature": (["run", "--attach", "x:1", "--model", "m", "--temperature", "nan"], 2, "not a number"),
    "a huge answer": (["run", "--attach", "x:1", "--model", "m", "--max-tokens", "9" * 20], 2, "it takes 1 to"),
    "a wrong rule": (["run", "--attach", "x:1", "--model", "m", "--target", "fast"], 2, "is not a rule"),
    "a rule without end": (["run", "--attach", "x:1", "--model", "m", "--target", "ttft_ms<1e400"], 2, "not a number"),
    "a wrong metric": (["run", "--attach", "x:1", "--model", "m", "--target", "tfft_ms<5"], 2, "did you mean ttft_ms?"),
    "a turned rule": (["run", "--attach", "x:1", "--model", "m", "--target", "ttft_ms>5"], 2, "lower is better"),
    "a wrong timeout": (["run", "--attach", "x:1", "--model", "m", "--timeout", "idel=5"], 2, "no such timeout"),
    "a timeout of nothing": (
        ["run", "--attach", "x:1", "--model", "m", "--timeout", "idle=0"],
        2,
        "not a number of seconds",
    ),
    "a missing key": (
        ["run", "--attach", "x:1", "--model", "m", "--api-key-env", "NO_SUCH"],
        2,
        "that variable is not set",
    ),
    "models for none": (["run", "--attach", "x:1", "--model", "a", "--model", "b"], 2, "2 --model for 1 server"),
    "two outputs": (["run", "--attach", "x:1", "--model", "m", "--json", "--events"], 2, "both want stdout"),
    "nobody there": (
        ["run", "--attach", "http://127.0.0.1:9", "--model", "m"],
        3,
        "nothing answers at http://127.0.0.1:9",
    ),
    "nobody to ask": (["run", "--attach", "http://127.0.0.1:9"], 3, "no server answers at"),
    "no such run": (["show", "77"], 2, "there is no database at"),
    "a wrong dial": (["mock", "--set", "ttft=5"], 2, "ttft_ms"),
    "a wrong fault": (["mock", "--set", "faults=rest"], 2, "reset"),
    "a dial without a value": (["mock", "--set", "ttft_ms"], 2, "not DIAL=VALUE"),
    "a database that is a folder": (["list", "--db", "."], 2, "is a folder"),
    "no database to show from": (["show", "last"], 2, "there is no database at"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gets_one_clear_line(infertui: Command, case: str) -> None:
    flags, code, said = WRONG[case]
    ran = infertui(*flags)
    lines = [line for line in ran.stderr.splitlines() if line.startswith("infertui: ")]
    assert ran.returncode == code, ran.stderr
    assert len(lines) == 1
    assert said in lines[0], lines[0]
    assert "Traceback" not in ran.stderr


def test_a_run_on_a_server_that_is_not_there_is_kept_as_failed(infertui: Command) -> None:
    run = infertui.run_json("--attach", "http://127.0.0.1:9", "--model", "m", code=3)
    assert (run["status"], run["valid"], run["calls"]) == ("failed", False, 0)
    assert "nothing answers at" in run["message"]
    assert infertui.json("list", "runs")["runs"][0]["status"] == "failed"


def test_one_server_that_fails_does_not_stop_the_other(infertui: Command, served: Serve) -> None:
    flags = ("--attach", "http://127.0.0.1:9", "--attach", served(tokens=8).address, "--model", "m", *QUICK)
    ran = infertui("run", *flags, "--json")
    assert ran.returncode == 3  # a script that compares the two has to know
    first, second = json.loads(ran.stdout)["runs"]
    assert (first["status"], second["status"]) == ("failed", "done")
    assert second["metrics"]["success_rate"] == 1.0


def test_a_run_without_any_success_ends_with_3(infertui: Command, served: Serve) -> None:
    run = infertui.run_json("--attach", served(faults="500").address, *QUICK, code=3)
    assert run["errors"] == {"http-500": 3}
    assert run["metrics"]["success_rate"] == 0.0
    assert run["metrics"]["ttft_ms"] == {"n": 0, **dict.fromkeys(("mean", "min", "p50", "p90", "p95", "p99", "max"))}
    assert not run["valid"]


def test_a_redirect_says_where_to(infertui: Command) -> None:
    import http.server
    import threading

    class Moved(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(307)
            self.send_header("Location", "https://elsewhere.example/v1/chat/completions")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Moved) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ran = infertui("run", "--attach", f"http://127.0.0.1:{server.server_port}", "--model", "m", *QUICK)
        server.shutdown()
    assert ran.returncode == 3
    assert "moved to https://elsewhere.example/v1/chat/completions: give that address" in ran.stderr.splitlines()[-1]


def test_a_full_address_of_the_call_will_do_as_well(infertui: Command, served: Serve) -> None:
    url = f"{served(tokens=8).address}/v1/chat/completions"
    assert infertui.run_json("--attach", url, *QUICK)["metrics"]["success_rate"] == 1.0


def test_warm_caches_are_measured_on_prompts_that_are_known(infertui: Command, served: Serve) -> None:
    infertui.run_json("--attach", served(tokens=8).address, *QUICK, "--cache", "warm")
    calls = infertui.json("show", "last")["runs"][0]["call_list"]
    prompts = [[call["prompt_id"] for call in calls if call["role"] == role] for role in ("warmup", "measured")]
    assert prompts[0] == prompts[1]


def test_a_field_named_by_its_place_is_left_out_too(infertui: Command) -> None:
    import http.server
    import threading

    class Strict(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            wrong = "stream_options" in asked
            detail = {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}
            reply = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}
            body = json.dumps(detail if wrong else reply).encode()
            self.send_response(422 if wrong else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Strict) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        run = infertui.run_json("--attach", f"http://127.0.0.1:{server.server_port}", "--model", "m", *QUICK)
        server.shutdown()
    assert "the server refuses `stream_options`: it is left out" in run["warnings"]
    assert any("the server did not stream its reply" in warning for warning in run["warnings"])


def test_a_wrong_key_is_said_and_a_right_one_is_nowhere_kept(infertui: Command, served: Serve) -> None:
    url = served(tokens=8, api_key="canary-4711").address
    refused = infertui("run", "--attach", url, "--model", "m", *QUICK)
    assert refused.returncode == 3
    assert "http-401" in refused.stderr
    infertui.environment["MY_KEY"] = "canary-4711"
    ran = infertui("run", "--attach", url, "--api-key-env", "MY_KEY", *QUICK, "--events")
    assert ran.returncode == 0
    kept = b"".join(path.read_bytes() for path in Path(infertui.folder).iterdir() if path.is_file())
    assert b"MY_KEY" in kept
    assert b"canary" not in kept + ran.stdout.encode() + ran.stderr.encode()


def test_a_full_disk_costs_no_figure(infertui: Command, served: Serve) -> None:
    url = served(tokens=40).address
    infertui.run_json("--attach", url, *QUICK)
    limit = infertui.db.stat().st_size + 40_000  # neither the file nor its journal may grow past it

    def small() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    flags = ("run", "--attach", url, "-n", "60", "--max-tokens", "40", "--json")
    with infertui.start(*flags, preexec_fn=small) as child:
        out, err = child.communicate(timeout=60)
    run = json.loads(out)["runs"][0]
    assert run["metrics"]["ttft_ms"]["n"] == 60
    assert any("takes no more" in warning for warning in run["warnings"])
    assert "takes no more" in err
    assert "Traceback" not in err
    with sqlite3.connect(infertui.db) as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    db.close()


def test_text_of_a_server_cannot_act_on_the_terminal(infertui: Command, served: Serve) -> None:
    name = "m\x1b[31m[bold]\u202eevil"
    ran = infertui("run", "--attach", served(tokens=4, model=name).address, *QUICK)
    shown = infertui("show", "last")
    for text in (ran.stdout, ran.stderr, shown.stdout, infertui("list").stdout):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "␛[31m[bold]" in shown.stdout


# The rest.


def test_every_command_has_help_with_an_example(infertui: Command) -> None:
    for command in ("run", "list", "show", "server start", "server logs", "doctor", "selftest", "mock"):
        ran = infertui(*command.split(), "--help")
        assert ran.returncode == 0
        assert f"infertui {command}" in ran.stdout.partition("Options:")[0].partition("\n\n")[2]


def test_an_output_that_nobody_takes_is_no_failed_gate(infertui: Command, served: Serve) -> None:
    infertui.run_json("--attach", served(tokens=8).address, *QUICK)
    for command, code in (("show last | true", 141), ("show last > /dev/full", 1)):
        shell = f"{sys.executable} -m infertui {command}; exit ${{PIPESTATUS[0]}}"
        environment = {**infertui.environment, "INFERTUI_DB": str(infertui.db)}
        if "/dev/full" in command and not Path("/dev/full").exists():
            continue
        ran = subprocess.run(["bash", "-c", shell], env=environment, capture_output=True, text=True, check=False)
        assert (ran.returncode, "Traceback" in ran.stderr) == (code, False), ran.stderr


def test_closed_streams_stop_nothing(infertui: Command, served: Serve) -> None:
    flags = f"run --attach {served(tokens=8).address} -n 3 --max-tokens 8"
    environment = {**infertui.environment, "INFERTUI_DB": str(infertui.db)}
    shell = f"{sys.executable} -m infertui {flags} 2>&- >&-"
    assert subprocess.run(["bash", "-c", shell], env=environment, check=False).returncode == 0
    assert infertui.json("list", "runs")["runs"][0]["status"] == "done"


def test_mock_serves_until_it_is_stopped(infertui: Command) -> None:
    with infertui.start("mock", "--port", "0", "--set", "tokens=3") as child:
        assert child.stdout is not None
        url = child.stdout.readline().split()[-1]
        assert infertui.run_json("--attach", url, *QUICK)["metrics"]["success_rate"] == 1.0
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=10) == 0


def test_a_port_that_is_taken_is_named(infertui: Command, served: Serve) -> None:
    port = served().address.rpartition(":")[2]
    ran = infertui("mock", "--port", port)
    assert ran.returncode == 2
    assert port in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_an_installed_wheel_works_outside_a_checkout(tmp_path: Path) -> None:
    import zipfile

    root = Path(__file__).parent.parent
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=root, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("INFERTUI", "XDG"))}
    environment = {**kept, "PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path)}
    code = """
import infertui, infertui.settings as settings
from infertui.profile import available
from infertui.server import KINDS
assert [each.name for each in available(tuple(KINDS))[0]][:2] == ["embedded-llama", "embedded-mlx"]
from infertui.scenario.corpus import load
print(infertui.__file__, len(load()), settings.database())
"""
    for command in (["-c", code], ["-m", "infertui", "list", "scenarios"]):
        ran = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        if command[0] == "-c":
            where, count, database = ran.stdout.split()
            assert where == str(tmp_path / "site" / "infertui" / "__init__.py")
            assert int(count) >= 500
            assert str(tmp_path) in database
            assert str(root) not in database


def test_self_test_errors_by_hand() -> None:
    from array import array

    from infertui.selftest import errors_of

    # Sent at 0, 100, 200 µs; read at 10, 130, 190+30: errors 10, 30, 20 µs; gaps off by 20 and 10 of 100 µs.
    reads = [(array("I", [10, 130, 220]), array("I"), array("I", [0, 100, 200]))]
    firsts, lasts, every, gaps, means = errors_of(reads, 100.0)
    assert (firsts, lasts, every, gaps) == ([10], [20], [10, 20, 30], [10.0, 20.0])
    assert means == [100 * 10 / 200]
    # Two pieces in the second read.
    reads = [(array("I", [10, 230]), array("I", [1, 2]), array("I", [0, 100, 200]))]
    assert errors_of(reads, 100.0)[2] == [10, 30, 130]


def test_self_test_measures_the_command_itself(infertui: Command) -> None:
    found = infertui.json("selftest", "--streams", "2", "--tokens", "40", "--no-limit")
    assert found["clock"]["tokens"] == 80
    assert found["clock"]["first_p50_ms"] > 0
    assert found["clock"]["cpu_us_per_token"] > 0
    assert msgspec.json.encode(found)


def test_keys_are_listed_as_the_settings_have_them_and_what_is_refused_is_said(infertui: Command) -> None:
    settings = infertui.folder / "home" / "settings.toml"
    settings.write_text('[app.keys]\n"launch.run" = "s"\n"app.quit" = "f9"\n')
    ran = infertui("keys", "--json")
    known = {key["id"]: key["keys"] for key in json.loads(ran.stdout)["keys"]}
    assert (known["app.quit"], known["launch.run"], known["launch.start"]) == ("f9", "r", "s")
    assert ran.stderr == "! app.keys.launch.run: s is launch.start's key as well: give that another\n"
    settings.write_text("[app\n")
    ran = infertui("keys")
    assert ran.returncode == 0
    assert "app.quit" in ran.stdout
    assert "settings.toml:1: not valid TOML" in ran.stderr.splitlines()[0]

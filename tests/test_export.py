"""Exports byte for byte, what is escaped in them, files that are whole or not there, and calls as commands.

WRITE_GOLDEN=1 writes the golden files anew, to be looked at before they are believed.
"""

from __future__ import annotations

import csv
import http.client
import io
import json
import os
import shlex
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from infertui.compare import Comparison, compare
from infertui.condition import Doubt
from infertui.errors import UsageError
from infertui.metric import CallRecord
from infertui.mock import Server
from infertui.mock.connection import Connection
from infertui.reply import Flag
from infertui.report import export, markdown, sheet
from infertui.report.curl import curl
from infertui.report.data import Whole
from infertui.report.export import FORMATS, Format, exported, format_of, save
from infertui.scenario.plan import Message, begun, nonce
from infertui.stats import Distribution
from infertui.store import CALL_COLUMNS
from tests.conftest import Command
from tests.test_compare import A, B, report, spread

GOLDEN = Path(__file__).parent / "golden"
AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
MACHINE = {"cpu": "M4", "cores": 10, "memory_bytes": 32 << 30, "system": "Darwin", "release": "25.1", "arch": "arm64"}
EVIL = "=cmd|' /C calc'!A0 `x` <b>*[y](z)*\n# a\\"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERTUI_HOME", str(tmp_path))
    monkeypatch.setattr(markdown, "__version__", "1.2.3")


def call(name: str, **fields: Any) -> CallRecord:
    asked = {"role": "measured", "round": 1, "lane": 0, "kind": "router", "prompt_id": "router-001"}
    asked |= {"prompt_hash": "h", "max_tokens": 8, "sched_ns": 10, "outcome": "ok", "finish": "length"}
    return CallRecord(name=name, **{**asked, **fields})


def a_run() -> Whole:
    """A run in which something of every kind has happened."""
    figures: dict[str, Distribution | float | None] = {
        "ttft_ms": Distribution(3, mean=21.0, min=19.0, p50=20.0, max=24.0),
        "e2e_ms": Distribution(3, mean=130.5, min=100.25, p50=120.5, max=170.75),
        "prefill_tps": Distribution(0),
        "memory_bytes": Distribution(9, mean=float(3 << 29), min=1.0, p50=2.0, max=float(1 << 31)),
        "output_tps": 1234.5678901,
        "success_rate": 0.75,
        "speedup": None,
    }
    told = report(
        12,
        A,
        figures,
        setup={"max_tokens": 8, "targets": [{"key": "ttft_ms", "worst": 500.0}]},
        facts={
            "version": "llama.cpp 7000",
            "model": "/models/q4|x.gguf",
            "command": ["/bin/llama-server", "-m", "/models/q4|x.gguf", "--port", "8080"],
            "settings": {"slots": 4, "context": 4096, "quant": "Q4_K_M"},
            "threads": 7,
            "caveats": [f"a caveat: {EVIL}"],
        },
        calls=4,
        errors={"http-500": 1},
        warnings=["1 of 4 calls ended before max_tokens"],
        doubts=(Doubt(key="battery", level="suspicious", text="the machine ran on its battery"),),
        limits=("threads",),
    )
    calls = [
        call("warmup-001", role="warmup", round=0, ttft_ms=40.0, e2e_ms=60.0, n_output=8),
        call("r1-001", ttft_ms=20.0, e2e_ms=120.5, n_output=8, effective_tps=66.390041, headers_mean_slot=True),
        call("r1-002", ttft_ms=0.000123456789, e2e_ms=1.0, n_output=64, effective_tps=64000.0, prompt_id=EVIL),
        call("r1-003", ttft_ms=24.0, e2e_ms=170.75, n_output=8, finish="stop", queue_ms=3.5),
        call("r1-004", outcome="http-500", message=EVIL, finish="", status=500),
    ]
    flags = {
        "r1-001": (Flag("cut", "it ended at the limit of tokens, not by itself"),),
        "r1-002": (Flag("looping", "it repeats `a|b`"), Flag("cut", "it ended at the limit of tokens, not by itself")),
        "r1-003": (),
    }
    return Whole(
        report=told, calls=calls, flags=flags, tags=["candidate", EVIL], note="line 1\nline 2", machine=MACHINE
    )


def a_comparison() -> Comparison:
    one = a_run().report
    figures: dict[str, Distribution | float | None] = {
        "ttft_ms": spread(30.0),
        "e2e_ms": spread(120.5),
        "memory_bytes": spread(1.0, float(1 << 30)),
        "success_rate": 1.0,
        "output_tps": 2469.1357802,
        "speedup": 2.5,
    }
    late = "invalid: the client's loop ran up to 6.4 ms late (p99; limit 2.0 ms): too much at once for this machine"
    two = report(
        13, f"{B} {EVIL}", figures, setup={"max_tokens": 16}, valid=False, warnings=[late], n_source="pieces:3"
    )
    replies = {12: {"fine": 2, "looping": 1}, 13: {"fine": 3}}
    return compare([one, two], 12, replies, {12: MACHINE, 13: MACHINE})


# Byte for byte.


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("what", ["run", "comparison"])
def test_exports_are_as_they_were(what: str, format: Format) -> None:
    text = exported([a_run()] if what == "run" else a_comparison(), format, AT)
    golden = GOLDEN / f"{what}.{format}"
    if os.environ.get("WRITE_GOLDEN"):
        golden.write_bytes(text.encode())
    assert text.encode() == golden.read_bytes()


def test_the_time_is_utc() -> None:
    local = AT.astimezone(timezone(timedelta(hours=9)))
    assert exported([a_run()], "md", local).endswith("2026-03-01 12:30 UTC*\n")


# The same rows in every format.


def test_figures_are_whole_in_csv_and_json_and_rounded_in_markdown() -> None:
    run = a_run()
    (_, row) = [row for row in rows(exported([run], "csv", AT)) if row["name"] in ("r1-001", "r1-002")]
    assert row["ttft_ms"] == "0.000123456789"
    assert json.loads(exported([run], "json", AT))["runs"][0]["call_list"][2]["ttft_ms"] == 0.000123456789
    assert "| Output tokens | tok/s | 1,235 |" in exported([run], "md", AT)
    (value,) = [
        row for row in rows(exported(a_comparison(), "csv")) if (row["metric"], row["run"]) == ("output_tps", "13")
    ]
    assert float(value["ratio"]) == 2.0
    assert float(value["difference"]) == pytest.approx(1234.5678901)


def test_a_row_a_call_with_every_column() -> None:
    found = rows(exported([a_run(), a_run()], "csv", AT))
    assert list(found[0]) == ["run", "server", "model", "scenario", *CALL_COLUMNS, "reply"]
    assert [row["name"] for row in found] == [call.name for call in a_run().calls] * 2
    assert [row["reply"] for row in found[:5]] == ["", "fine", "looping", "fine", ""]
    assert (found[1]["headers_mean_slot"], found[0]["headers_mean_slot"]) == ("true", "false")
    assert found[0]["status"] == ""  # unknown is empty, no zero


def test_several_runs_stand_one_after_the_other() -> None:
    assert exported([a_run(), a_run()], "md", AT).count("# Run 12: single on llama-server") == 2
    assert len(json.loads(exported([a_run(), a_run()], "json"))["runs"]) == 2


def test_the_long_form_has_a_row_for_each_figure_of_each_run() -> None:
    found = rows(exported(a_comparison(), "csv", AT))
    assert list(found[0]) == list(sheet.COMPARED)
    keys = ["ttft_ms", "e2e_ms", "output_tps", "success_rate", "speedup", "memory_bytes"]
    counted = [f"replies_{kind}" for kind in ("fine", "empty", "looping", "garbled")]
    assert [row["metric"] for row in found] == [*(key for key in [*keys, *counted] for _ in range(2)), *["warning"] * 3]
    told = [(row["run"], row["remark"].partition(": ")[2].partition(":")[0]) for row in found if row["remark"]]
    assert told == [
        ("13", "token counts"),  # of the output tokens, the one figure that rests on them
        ("12", "suspicious"),
        ("12", "their speed says little"),
        ("13", "not valid"),
    ]
    assert {row["better"] for row in found if row["metric"] == "speedup"} == {"higher"}
    assert [row["value"] for row in found if row["metric"] == "speedup"] == ["", "2.5"]
    assert [row["value"] for row in found if row["metric"] == "replies_looping"] == ["1", "0"]


def test_json_says_what_replies_are_worth() -> None:
    (run,) = json.loads(exported([a_run()], "json"))["runs"]
    assert run["replies"]["counts"] == {"fine": 2, "looping": 1}
    assert [flag["kind"] for flag in run["replies"]["flags"]["r1-002"]] == ["looping", "cut"]
    assert (run["tags"], run["note"], run["machine"]) == (["candidate", EVIL], "line 1\nline 2", MACHINE)
    told = json.loads(exported(a_comparison(), "json"))["comparison"]
    suspicious, loops, invalid = told["warnings"]
    assert suspicious == "llama-server: suspicious: the machine ran on its battery"
    assert loops == "1 of 3 replies of llama-server loops: their speed says little"
    assert invalid.startswith("mlx-lm ")
    assert ": not valid: the client's loop ran up to 6.4 ms late" in invalid
    judged = {each["key"]: (each["better"], each["unlike"]) for each in told["runs"][1]["differences"]}
    assert judged["output_tps"] == ("", "token counts")
    assert judged["ttft_ms"] == ("worse", "")
    assert {each["what"] for each in told["unlike"]} >= {"max tokens", "targets"}


# What is escaped.


def test_markdown_holds_no_markup_of_others() -> None:
    for text in (exported([a_run()], "md", AT), exported(a_comparison(), "md", AT)):
        assert "<b>" not in text
        assert "\n# a" not in text
        for line in text.splitlines():
            if line.startswith("|"):
                assert line.endswith("|")
    cells = [count(line) for line in exported([a_run()], "md", AT).splitlines() if line.startswith("| r1-")]
    assert cells == [11] * 4


def count(line: str) -> int:
    """Cells of a row: bars that no backslash stands before."""
    return sum(char == "|" and line[at - 1] != "\\" for at, char in enumerate(line)) - 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", r"a\|b"),
        ("`x`", r"\`x\`"),
        ("a\nb", "a b"),
        ("<b>&lt;", "&lt;b&gt;&amp;lt;"),
        ("![x](http://h)", r"!\[x\](http://h)"),
        ("\\|", r"\\\|"),
        ("~~a~~ *b*", r"\~\~a\~\~ \*b\*"),
        ("\x1b[31m", r"␛\[31m"),
    ],
)
def test_a_cell_means_nothing_but_itself(text: str, shown: str) -> None:
    assert markdown.cell(text) == shown


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(start: str) -> None:
    run = Whole(report=report(1, f"{start}1+1"), calls=[call("r1-001", message=f"{start}2")])
    (row,) = rows(exported([run], "csv"))
    assert row["server"] == f"'{start}1+1"
    assert row["message"] == f"'{start}2"


def test_a_negative_number_is_no_formula() -> None:
    run = Whole(report=report(1), calls=[call("r1-001", ttft_ms=-1.5)])
    assert rows(exported([run], "csv"))[0]["ttft_ms"] == "-1.5"


def test_commas_quotes_and_lines_stay_in_their_cell() -> None:
    run = Whole(report=report(1, 'a,"b"\nc'), calls=[call("r1-001", note="d\r\ne")])
    (row,) = rows(exported([run], "csv"))
    assert (row["server"], row["note"]) == ('a,"b"\nc', "d\r\ne")


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


# Files.


def test_the_format_is_in_the_ending() -> None:
    assert [format_of(name) for name in ("a.md", "b.CSV", "c.d/e.json", "f.markdown", "g", "h.html")] == [
        *("md", "csv", "json", "md", None, None)
    ]


def test_a_file_is_kept_unless_forced(tmp_path: Path) -> None:
    place = tmp_path / "out.md"
    save("one", place)
    with pytest.raises(UsageError, match=r"out.md is there already \(--force"):
        save("two", place)
    assert place.read_text() == "one"
    save("two", place, force=True)
    assert place.read_text() == "two"
    assert os.listdir(tmp_path) == ["out.md"]


def test_a_file_has_the_mode_that_new_files_have(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    save("x", tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "out.md"
    save("one", place)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.os, "replace", full)
    with pytest.raises(UsageError, match="cannot be written: No space left"):
        save("two", place, force=True)
    assert place.read_text() == "one"
    assert os.listdir(tmp_path) == ["out.md"]


def test_a_disk_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(export.os, "link", none)
    save("one", tmp_path / "out.md")
    assert (tmp_path / "out.md").read_text() == "one"
    with pytest.raises(UsageError, match="is there already"):
        save("two", tmp_path / "out.md")
    assert os.listdir(tmp_path) == ["out.md"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.md").write_text("old")
    (tmp_path / "link.md").symlink_to("real.md")
    save("new", tmp_path / "link.md", force=True)
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "real.md").read_text() == "new"


@pytest.mark.parametrize(("place", "said"), [(".", "is a folder"), ("no/such/out.md", "cannot be written")])
def test_a_place_that_takes_no_file_is_said(tmp_path: Path, place: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        save("x", tmp_path / place)


def test_a_pipe_takes_it_as_it_is() -> None:
    save("x", Path(os.devnull))
    assert not Path(os.devnull).is_file()


# The command.


def test_export_writes_what_run_has_kept(infertui: Command, served: Callable[..., Server]) -> None:
    infertui.run_json("--attach", served(tokens=8).address, "--model", "mock", "-n", "3", "--max-tokens", "8")
    infertui.run_json("--attach", served(tokens=8).address, "--model", "mock", "-n", "3", "--max-tokens", "8")
    ran = infertui("export", "last", "-o", "run.md")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "wrote run.md\n")
    page = (infertui.folder / "run.md").read_text()
    assert page.startswith("# Run 2: single on 127.0.0.1:")
    assert "| r1-003 | measured |" in page
    again = infertui("export", "1", "-o", "run.md")
    assert again.returncode == 2
    assert "run.md is there already" in again.stderr
    assert (infertui.folder / "run.md").read_text() == page
    assert infertui("export", "1", "-o", "run.md", "--force").returncode == 0
    assert (infertui.folder / "run.md").read_text().startswith("# Run 1")
    both = infertui("export", "1", "2", "--format", "csv")
    assert [row["run"] for row in rows(both.stdout)] == ["1"] * 4 + ["2"] * 4
    (shown,) = infertui.json("show", "1")["runs"]
    (kept,) = json.loads(infertui("export", "1", "--format", "json", "-o", "-").stdout)["runs"]
    assert {key: kept[key] for key in shown} == shown
    assert kept["replies"]["counts"] == {"fine": 3}
    for name in ("both.md", "both.csv", "both.json"):
        assert infertui("compare", "1", "2", "-o", name).returncode == 0
    assert (infertui.folder / "both.md").read_text().startswith("# Comparison of 2 runs\n")
    assert json.loads((infertui.folder / "both.json").read_text())["comparison"]["baseline"] == 1
    assert {row["run"] for row in rows((infertui.folder / "both.csv").read_text())} == {"1", "2"}
    assert infertui("compare", "1", "2", "-o", "both.txt").returncode == 0
    table = (infertui.folder / "both.txt").read_text()
    assert "Time to first token" in table
    assert "\x1b" not in table
    unnamed = infertui("export", "1")
    assert unnamed.returncode == 2
    assert "no format is named" in unnamed.stderr


# A call as a command.


def messages() -> tuple[Message, ...]:
    return (Message("system", "Be short."), Message("user", 'It\'s "5 $HOME" `x` \\ ü \u200e\x9b?'))


def test_the_command_is_one_line_that_a_shell_takes_apart_again() -> None:
    told = report(1, A, setup={"temperature": 0.5, "top_p": 0.9, "sampling_seed": 7, "cache": "warm"})
    found = curl(told, call("r1-001", max_tokens=48), messages(), "uid", "http://127.0.0.1:8080")
    assert "\n" not in found.command
    assert found.command.isprintable()
    words = shlex.split(found.command)
    assert words[:3] == ["curl", "-sN", "http://127.0.0.1:8080/v1/chat/completions"]
    assert words[3:5] == ["-H", "Content-Type: application/json"]
    assert words[5] == "-d"
    assert json.loads(words[6]) == {
        "model": "m",
        "messages": [{"role": each.role, "content": each.content} for each in messages()],
        "stream": True,
        "max_tokens": 48,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "stream_options": {"include_usage": True},
    }
    assert found.note == "127.0.0.1:8080 is the free port that the server had then"


def test_a_cold_call_begins_with_its_nonce() -> None:
    assert nonce("uid", "r1-001") == nonce("uid", "r1-001") != nonce("uid", "r1-002")
    assert len(nonce("uid", "r1-001").split()) == 10
    body = json.loads(shlex.split(curl(report(1), call("r1-001"), messages(), "uid", "h:1").command)[-1])
    assert body["messages"][0]["content"] == f"{nonce('uid', 'r1-001')}\nBe short."
    assert begun(messages(), "") == messages()


@pytest.mark.parametrize(
    ("kind", "facts", "model"),
    [
        ("llama-server", {}, "m"),
        ("mlx-lm", {"model": "/models/m"}, "default_model"),
        ("mlx-lm", {"model": "org/m", "attached": True}, "org/m"),
        ("mlx-lm", {"model": "org/m", "attached": True, "command": ["mlx_lm.server"]}, "default_model"),
    ],
)
def test_a_model_has_the_name_that_its_server_was_asked_by(kind: str, facts: dict[str, Any], model: str) -> None:
    found = curl(report(1, kind, facts=facts), call("r1-001"), messages(), "uid", "h:1")
    assert json.loads(shlex.split(found.command)[-1])["model"] == model


def test_a_key_is_named_and_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    told = report(1, facts={"profile": {"api_key_env": "MY_KEY"}})
    command = curl(told, call("r1-001"), messages(), "uid", "http://h").command
    assert ' -H "Authorization: Bearer $MY_KEY" ' in command
    assert "sk-secret" not in command
    odd = report(1, facts={"profile": {"api_key_env": 'X"; rm -rf ~; "'}})
    assert "rm -rf" not in curl(odd, call("r1-001"), messages(), "uid", "http://h").command


def test_where_no_address_is_known_it_is_that_of_the_command() -> None:
    told = report(1, facts={"command": ["llama-server", "--host", "127.0.0.1", "--port", "4711"]})
    assert " http://127.0.0.1:4711/v1/" in curl(told, call("r1-001"), messages(), "uid").command
    with pytest.raises(UsageError, match="does not say where its server was"):
        curl(report(1), call("r1-001"), messages(), "uid")


@pytest.mark.parametrize(
    ("flags", "dials"),
    [
        ((), {}),
        (("--api", "completions", "--cache", "warm"), {}),
        (("--api", "native"), {}),
        (("--api", "native", "--temperature", "0.7"), {"ollama": True}),
        (("--no-stream", "--sampling-seed", "5"), {}),
        ((), {"reject": "stream_options,max_tokens"}),
    ],
)
def test_the_command_sends_what_was_sent(
    infertui: Command,
    served: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
    flags: tuple[str, ...],
    dials: dict[str, Any],
) -> None:
    bodies: list[tuple[bytes, bytes]] = []
    requested = Server.requested

    def seen(server: Server, connection: Connection) -> None:
        if connection.method == b"POST":
            bodies.append((connection.url, bytes(connection.body)))
        requested(server, connection)

    monkeypatch.setattr(Server, "requested", seen)
    url = served(tokens=4, **dials).address
    infertui.run_json("--attach", url, "--model", "mock", "-n", "3", "--max-tokens", "4", *flags)
    (count,) = [len(run["call_list"]) for run in infertui.json("show", "1")["runs"]]
    assert len(bodies) == count
    sent = bodies[-3:]  # the measured ones
    for number, (path, body) in enumerate(sent, 1):
        ran = infertui("show", "last", "--curl", f"r1-00{number}")
        assert (ran.returncode, ran.stderr) == (0, "")
        words = shlex.split(ran.stdout)
        parts = urlsplit(words[2])
        assert (parts.path.encode(), words[-1].encode()) == (path, body)
    before = len(bodies)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request("POST", parts.path, words[-1].encode(), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.read()
    connection.close()
    assert bodies[before:] == [sent[-1]]


def test_a_shell_runs_it(infertui: Command, served: Callable[..., Server]) -> None:
    infertui.run_json("--attach", served(tokens=4).address, "--model", "mock", "-n", "1", "--max-tokens", "4")
    command = infertui("show", "1", "--curl", "r1-001").stdout
    try:
        ran = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("no shell here")
    if ran.returncode == 127:
        pytest.skip("no curl here")
    assert ran.returncode == 0
    assert ran.stdout.count(b"data:") >= 4


def test_a_call_that_is_not_there_is_said(infertui: Command, served: Callable[..., Server]) -> None:
    infertui.run_json("--attach", served(tokens=4).address, "--model", "mock", "-n", "1", "--max-tokens", "4")
    ran = infertui("show", "1", "--curl", "r9-001")
    assert ran.returncode == 2
    assert "run 1 has no call 'r9-001'" in ran.stderr

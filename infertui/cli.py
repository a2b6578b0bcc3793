"""The commands. Data goes to stdout, narration to stderr; each command imports what it needs when it is called."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from infertui import __version__
from infertui.errors import InferTUIError, Interrupted, UsageError

if TYPE_CHECKING:
    from infertui.bench import Asked
    from infertui.result import Report
    from infertui.store import Store

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="infertui")
def cli() -> None:
    """Find out which local inference server your agents should run on.

    \b
    infertui run --attach http://127.0.0.1:8080 --model M    measure a server that runs
    infertui show last                                       look at the figures again
    infertui selftest                                        what our own clock is worth
    """


db_option = click.option("--db", metavar="FILE", help="Database to use (default: results.db, see the README).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")


@cli.command()
@click.option(
    "--attach", "urls", metavar="URL", multiple=True, help="A running server; again for more, which take turns."
)
@click.option(
    "--model", "models", metavar="M", multiple=True, help="Model to ask for; one for all, or one an --attach."
)
@click.option("--scenario", default="single", show_default=True, metavar="S", help="What is sent: `list scenarios`.")
@click.option("-c", "--concurrency", type=int, metavar="N", help="Calls at once (concurrent; default: 4).")
@click.option(
    "-n", "--requests", type=int, metavar="N", help="Calls a round (default: 12 in single, one a place in concurrent)."
)
@click.option(
    "--rounds", type=int, default=1, show_default=True, metavar="N", help="How often the same calls are sent."
)
@click.option("--max-tokens", type=int, metavar="N", help="Length of each answer (default: each prompt's own).")
@click.option(
    "--kind", "kinds", multiple=True, metavar="K", help="Prompts: router, reasoning or coding (default: all)."
)
@click.option("--warmup", type=int, metavar="N", help="Warm-up calls, kept and never counted (default: one a place).")
@click.option("--alone/--no-alone", default=None, help="Send each prompt alone first, for the speed-up (concurrent).")
@click.option(
    "--cache",
    type=click.Choice(["cold", "warm"]),
    default="cold",
    show_default=True,
    help="Whether prompts may be found in prefix caches.",
)
@click.option(
    "--api",
    type=click.Choice(["chat", "completions", "native"]),
    default="chat",
    show_default=True,
    help="What is spoken; native is the server's own: llama.cpp's or Ollama's.",
)
@click.option("--stream/--no-stream", default=True, help="Whether replies come token by token.")
@click.option(
    "--temperature", type=click.FloatRange(0, 10), default=0.0, metavar="T", help="Of the sampling (default: 0)."
)
@click.option(
    "--sampling-seed",
    type=click.IntRange(0, 1 << 31),
    metavar="N",
    help="Sent as `seed`; some servers turn serial with it.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Chooses the prompts.")
@click.option("--target", "targets", multiple=True, metavar="RULE", help="What a good call keeps: 'ttft_ms<500'.")
@click.option(
    "--timeout", "timeouts", multiple=True, metavar="KEY=S", help="connect, first-byte, first-token, idle, total."
)
@click.option("--api-key-env", default="", metavar="NAME", help="Variable that holds the API key.")
@click.option("--label", default="", metavar="L", help="A name to find the run by.")
@db_option
@json_option
@click.option("--events", is_flag=True, help="Print what happens as JSON lines, for programs.")
def run(
    urls: tuple[str, ...],
    models: tuple[str, ...],
    targets: tuple[str, ...],
    timeouts: tuple[str, ...],
    api: str,
    api_key_env: str,
    db: str | None,
    as_json: bool,
    events: bool,
    **asked: Any,
) -> None:
    """Measure servers that run, and keep every call.

    \b
    infertui run --attach http://127.0.0.1:8080 --model qwen3
    infertui run --attach http://127.0.0.1:8080 --scenario concurrent -c 4 -n 16 --rounds 3
    infertui run --attach http://127.0.0.1:1234 --attach http://127.0.0.1:8080 --model m --json

    Ctrl-C once stops kindly and reports what was measured; twice stops at once.
    """
    from infertui.bench import Asked
    from infertui.option import attached, bound, limits
    from infertui.result import failure
    from infertui.scenario import scenario
    from infertui.scenario.base import Params

    if as_json and events:
        raise UsageError("--json and --events both want stdout", "use one of them")
    if api_key_env and not os.environ.get(api_key_env):
        raise UsageError(f"--api-key-env {api_key_env}: that variable is not set", f"export {api_key_env}=…")
    names = ("requests", "concurrency", "rounds", "max_tokens", "kinds", "warmup", "alone", "cache", "seed")
    params = scenario(asked["scenario"]).checked(Params(**{name: asked[name] for name in names}))
    if asked["label"].isdecimal() or asked["label"] == "last":
        raise UsageError(f"--label {asked['label']}: that is how runs are numbered", "use a name with a letter in it")
    if asked["temperature"] != asked["temperature"]:
        raise UsageError("--temperature nan: not a number", "0 is the usual choice for a measurement")
    for flag, text in (("--label", asked["label"]), *(("--model", model) for model in models)):
        if not text.isprintable() and any("\ud800" <= char <= "\udfff" for char in text):
            raise UsageError(f"{flag}: not valid UTF-8", "check the encoding of your terminal")
    from infertui.scenario.corpus import load

    load(params.kinds or None)
    plan = Asked(
        servers=attached(urls, models, api, api_key_env),
        scenario=asked["scenario"],
        params=params,
        stream=asked["stream"],
        temperature=asked["temperature"],
        seed=asked["sampling_seed"],
        label=asked["label"],
        limits=limits(timeouts),
        bounds=tuple(bound(rule) for rule in targets),
    )
    reports, stopped = _run(plan, db, events)
    if as_json:
        from infertui.report.data import runs_text

        click.echo(runs_text(reports))
    elif not events:
        from infertui.report.table import console, report_view

        shown = console()
        for report in reports:
            shown.print(report_view(report, width=shown.width))
    if stopped:
        raise Interrupted("stopped: what was measured is kept", "`infertui show last`")
    if error := failure(reports):
        raise error


def _run(plan: Asked, db: str | None, events: bool) -> tuple[list[Report], bool]:
    from infertui.bench import execute
    from infertui.report.live import outlet

    with _store(db, write=True) as store, outlet(events) as out:
        reports = execute(plan, store, out.put)
    return reports, any(report.status == "stopped" for report in reports)


def _store(db: str | None, write: bool = False) -> Store:
    """The database, with runs whose runner died marked as interrupted."""
    from infertui.errors import StoreError
    from infertui.settings import database
    from infertui.store import Store
    from infertui.telemetry.process import alive

    path = database(db)
    store = Store(path, write)
    for number in (cut := store.cut_off(alive)):
        click.echo(f"run {number} was cut off: what it had measured is kept (`infertui show {number}`)", err=True)
    if cut:
        with contextlib.suppress(StoreError):  # a database that can only be read is shown as it is
            if write:
                store.mark_interrupted(cut)
            else:
                with Store(path) as writable:
                    writable.mark_interrupted(cut)
    return store


@cli.command("list")
@click.argument("what", type=click.Choice(["runs", "scenarios"]), default="runs")
@click.option("-n", "--limit", type=click.IntRange(1), default=40, show_default=True, metavar="N")
@db_option
@json_option
def list_(what: str, limit: int, db: str | None, as_json: bool) -> None:
    """List what there is: runs (newest first) or scenarios.

    \b
    infertui list runs
    infertui list scenarios --json
    """
    if what == "scenarios":
        _list_scenarios(as_json)
        return
    from infertui.settings import database

    rows = []
    if database(db).exists():
        with _store(db) as store:
            rows = store.runs(limit)
            for row in rows:
                if not row.summary and row.status != "running":  # cut off before it could be added up
                    row.summary = _added_up(store, row.id)
    if as_json:
        from infertui.report.data import list_text

        click.echo(list_text(rows))
    elif not rows:
        click.echo("no runs yet: infertui run --attach URL --model M", err=True)
    else:
        from infertui.report.table import console, runs_view

        shown = console()
        shown.print(runs_view(rows, shown.width))


def _added_up(store: Store, run: int) -> str:
    import msgspec

    from infertui.result import stored

    return msgspec.json.encode(stored(store, str(run)).summary).decode()


def _list_scenarios(as_json: bool) -> None:
    from infertui.scenario import NAMES, scenario

    known = [scenario(name) for name in NAMES]
    if as_json:
        from infertui.report.data import encoded

        click.echo(encoded({"scenarios": [{"name": s.name, "title": s.title, "does": s.does} for s in known]}))
        return
    for each in known:
        click.echo(f"{each.name:12} {each.does}")


@cli.command()
@click.argument("run")
@click.option("--target", "targets", multiple=True, metavar="RULE", help="How many calls keep it: 'ttft_ms<500'.")
@click.option("--calls/--no-calls", "with_calls", default=True, help="Whether each call is listed.")
@click.option("--all", "every", is_flag=True, help="Every metric, also those seldom asked for.")
@click.option("--reply", metavar="CALL", help="What was answered in one call.")
@db_option
@json_option
def show(
    run: str,
    targets: tuple[str, ...],
    with_calls: bool,
    every: bool,
    reply: str | None,
    db: str | None,
    as_json: bool,
) -> None:
    """Show a run: percentiles, each call, and how many calls keep a target.

    RUN is a number, a label, or `last`.

    \b
    infertui show last
    infertui show 12 --target 'ttft_ms<500' --target 'e2e_ms<8000'
    infertui show 12 --reply r1-003
    """
    from infertui.option import bound
    from infertui.result import stored

    bounds = tuple(bound(rule) for rule in targets)
    with _store(db) as store:
        report = stored(store, run, bounds)
        calls = store.calls(report.id)
        if reply is not None:
            _show_reply(store, calls, reply, report.id)
            return
    if as_json:
        from infertui.report.data import run_text

        click.echo(run_text(report, calls, bounds))
        return
    from infertui.report.table import calls_view, console, report_view, targets_view

    shown = console()
    shown.print(report_view(report, every, shown.width))
    if bounds:
        shown.print(targets_view(calls, bounds), "")
    if with_calls:
        shown.print(calls_view(calls, bounds, shown.width))


def _show_reply(store: Store, calls: Any, name: str, run: int) -> None:
    from infertui.text import lines

    found = next((call for call in calls if call.name == name), None)
    if found is None:
        raise UsageError(f"run {run} has no call {name!r}", f"`infertui show {run}` lists them")
    text, thought = store.reply(found.reply_hash)
    if thought:
        click.echo(f"[thought]\n{lines(thought)}\n[answer]")
    click.echo(lines(text))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--streams", type=click.IntRange(1, 512), default=32, show_default=True, metavar="N")
@click.option(
    "--rate", type=click.FloatRange(1, 1000), default=100.0, show_default=True, help="Tokens a second a stream."
)
@click.option("--tokens", type=click.IntRange(2, 20_000), default=600, show_default=True, help="Tokens a stream.")
@click.option("--limit/--no-limit", default=True, help="Whether to look for the most tokens/s before lag.")
def selftest(as_json: bool, streams: int, rate: float, tokens: int, limit: bool) -> None:
    """Measure our own clock against a server with known timing.

    \b
    infertui selftest
    infertui selftest --streams 128 --no-limit --json
    """
    from infertui.report.clock import clock_text
    from infertui.selftest import measure

    found = measure(streams, rate, tokens, limit, say=lambda text: click.echo(text, err=True))
    if as_json:
        from infertui.report.data import encoded

        click.echo(encoded(found))
    else:
        click.echo(clock_text(found))


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8399, show_default=True, help="0: any free one.")
@click.option("--set", "dials", multiple=True, metavar="DIAL=VALUE", help="Turn a dial; `--dials` lists them.")
@click.option("--dials", "list_dials", is_flag=True, help="List every dial and fault, and leave.")
def mock(host: str, port: int, dials: tuple[str, ...], list_dials: bool) -> None:
    """Serve a known schedule, and faults, to prove a client against.

    Every token carries `sent_ns`, the instant at which it was sent (the clock is CLOCK_MONOTONIC, or the Mac's
    mach_absolute_time, as in Python's perf_counter_ns), and `due_ns`, when the schedule wanted it.

    \b
    infertui mock --set ttft_ms=500 --set gap_ms=20 --set tokens=51
    infertui mock --port 0 --set slots=2 --set faults=reset,429 --set fault_every=5
    """
    from infertui import mock as served

    if list_dials:
        _list_dials()
        return
    settings: dict[str, object] = {}
    for text in dials:
        key, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"--set {text}: not DIAL=VALUE", "`infertui mock --dials` lists them")
        settings[key] = value
    import signal

    server = served.Server(served.dial(served.Dials(), settings), host=host, port=port)
    server.open()
    click.echo(f"listening on {server.address}")
    sys.stdout.flush()
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, lambda *_: server.stop())
    try:
        server.serve()
    finally:
        server.close()


def _list_dials() -> None:
    from infertui.mock import FAULTS, Dials, sentences

    default = Dials()
    for name, sentence in sentences().items():
        click.echo(f"{name + '=' + str(getattr(default, name)):32} {sentence}")
    click.echo("\nfaults:")
    for name, sentence in FAULTS.items():
        click.echo(f"{name:32} {sentence}")


def main() -> NoReturn:
    """Run the command line; every error a user can meet ends as one line and a code."""
    for name in ("stdout", "stderr"):  # closed by whoever started us: what would go there is dropped
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.exceptions.NoArgsIsHelpError as shown:
        click.echo(shown.format_message())
        sys.exit(0)
    except click.ClickException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "infertui")
        _end(error.format_message().replace("\n", " "), f"see `{command} --help`", 2)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _end("stopped", "", 130)
    except InferTUIError as error:
        _end(error.message, error.hint, error.exit_code)
    except BrokenPipeError:  # whoever read our output has enough
        _no_more_output()
        sys.exit(141)
    except OSError as error:
        _no_more_output()
        _end(f"the output cannot be written: {error.strerror or error}", "", 1)
    except Exception as error:
        if os.environ.get("INFERTUI_DEBUG"):
            raise
        _end(
            f"a fault of our own: {type(error).__name__}: {error}", "INFERTUI_DEBUG=1 shows where; please report it", 1
        )
    sys.exit(0)


def _no_more_output() -> None:
    """What is still buffered for stdout would fail once more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(message: str, hint: str, code: int) -> NoReturn:
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    click.echo(f"infertui: {message}{f' ({hint})' if hint else ''}", err=True)
    sys.exit(code)

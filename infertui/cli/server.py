"""`infertui server`: servers that live on without a run, and what they write."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING

import click

from infertui.cli.shared import json_option
from infertui.errors import InferTUIError, Interrupted, ServerError, UsageError

if TYPE_CHECKING:
    from infertui.profile import Profile
    from infertui.server.base import Server
    from infertui.server.record import Record
    from infertui.server.state import Begun, State

TOLD_EVERY_S = 10.0
GRACE_S = 10.0  # for a server whose profile is gone
FOLLOW_S = 0.2
LINE_BYTES = 64 * 1024  # of a line without an end that are shown as one
SHOWS = "`infertui server status` shows what runs"


@click.group()
def server() -> None:
    """Start servers that stay, stop them, and see what they do.

    \b
    infertui server start embedded-llama
    infertui server status
    infertui server logs embedded-llama -f
    infertui server stop --all
    """


def _say(text: str) -> None:
    click.echo(text, err=True)


def _sweep() -> None:
    """What an InferTUI that was killed has left behind is ended first."""
    from infertui.server.process import sweep

    sweep(_say)


def _records(asked: str) -> list[Record]:
    """What was started from the profile of that name, or in that file: the oldest first."""
    from infertui.server import record

    name = os.path.basename(asked)
    if name != asked or name.endswith(".toml"):
        name = name.removesuffix(".toml")
    return [known for known in record.all_of() if known.name == name]


def _profile(name: str) -> Profile:
    from infertui.profile import load
    from infertui.server import KINDS

    return load(name, tuple(KINDS))


# Start.


@server.command()
@click.argument("profile")
@click.option("--model", default="", metavar="M", help="Model to start it with (default: the profile's).")
@json_option
def start(profile: str, model: str, as_json: bool) -> None:
    """Start a server and leave it running until `infertui server stop`.

    A run of the same profile attaches to it. Ctrl-C while it loads ends it.

    \b
    infertui server start embedded-llama
    infertui server start llama-server --model ~/models/qwen3.gguf
    """
    from infertui.option import profile as asked
    from infertui.server import server as of

    _sweep()
    found = of(asked(profile, model))
    if not found.profile.start:
        hint = f"infertui run {profile}"
        raise found.wrong("start", "false means that it is only measured where it runs", hint)
    _see_others(found)
    with _progress(found.profile.name) as changed, _signals(found):
        begun = found.start(changed, detached=True)
        if found.process is not None:
            found.process.leave()
    _tell(found, begun, ["infertui", "run", profile, *(["--model", model] if model else [])], as_json)


def _see_others(found: Server) -> None:
    """A start of the same profile that is still under way is not doubled; other servers of its name are mentioned."""
    known = found.recorded()
    if known is not None and not known.ready:
        hint = "`infertui server status` says when it is ready"
        raise ServerError(f"{found.profile.name} is being started already (pid {known.pid})", hint)
    for other in _records(found.profile.name):
        if known is None or other.id != known.id:
            if other.owner:
                _say(f"note: the run of pid {other.owner} has a {other.name} of its own (pid {other.pid})")
            else:
                _say(f"note: {other.name} runs with another model or other settings as well (pid {other.pid})")


@contextlib.contextmanager
def _progress(name: str) -> Iterator[Callable[[State, str], None]]:
    """A line a stage on stderr, and one now and then while nothing happens."""
    import threading

    began, over = time.monotonic(), threading.Event()

    def changed(state: State, reason: str) -> None:
        elapsed = time.monotonic() - began
        _say(f"{name}: {reason or state}" + (f" after {elapsed:.1f} s" if elapsed >= 0.05 else ""))

    def wait() -> None:
        while not over.wait(TOLD_EVERY_S):
            _say(f"{name}: still loading after {time.monotonic() - began:.0f} s")

    threading.Thread(target=wait, daemon=True).start()
    try:
        yield changed
    finally:
        over.set()


@contextlib.contextmanager
def _signals(found: Server) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP end what is being started. A second one does not wait for that."""
    import signal

    from infertui.server import process

    heard: list[int] = []

    def asked(number: int, frame: object) -> None:
        heard.append(number)
        if len(heard) > 1:
            os._exit(130)  # its supervisor ends it: it has not been told to stay
        with contextlib.suppress(OSError):
            os.write(2, b"stopping\n")
        found.cancel()

    # what was set to be ignored (nohup) stays so
    kinds = [
        each for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) != signal.SIG_IGN
    ]
    before = {kind: signal.signal(kind, asked) for kind in kinds}
    try:
        yield
    except InferTUIError:
        if not heard:
            raise
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    if heard:
        if found.process is not None:  # it had just become ready
            process.stop(found.process.record, found.profile.stop_s)
        raise Interrupted(f"{found.profile.name}: stopped while it was loading", "nothing of it is left")


def _tell(found: Server, begun: Begun, following: list[str], as_json: bool) -> None:
    """What runs now, and what to do with it."""
    import shlex

    from infertui.report.figure import seconds
    from infertui.text import plain

    known = found.process.record if found.process is not None else found.recorded()
    model = known.model if known is not None else found.model().name
    pid, log = (known.pid, known.log) if known is not None else (None, "")
    told = {"profile": found.profile.name, "kind": found.kind, "address": begun.url, "model": model}
    if as_json:
        from infertui.report.data import encoded

        rest = {"pid": pid, "log": log, "attached": begun.attached, "start": begun.start}
        click.echo(encoded({"server": {**told, **rest}}))
        return
    click.echo(f"{found.profile.name} {'runs already' if begun.attached else 'is ready'} at {begun.url}")
    facts = {"model": plain(model), "pid": str(pid or ""), "log": plain(log)}
    if not begun.attached:
        figures = {"start to listening": begun.start.accept_ms, "start to loaded": begun.start.load_ms}
        figures["start to answer"] = begun.start.first_answer_ms
        facts |= {name: seconds(None if value is None else value / 1000) for name, value in figures.items()}
    for name, text in facts.items():
        if text:
            click.echo(f"  {name:19} {text}")
    click.echo(f"\n{plain(shlex.join(following), 1000)}")


# Stop.


@server.command()
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...")
@click.option("--all", "every", is_flag=True, help="All that InferTUI has started and no run uses.")
@click.option("--force", is_flag=True, help="Also those that belong to a run, which then fails.")
def stop(profiles: tuple[str, ...], every: bool, force: bool) -> None:
    """End servers that InferTUI has started. What was started otherwise is left alone.

    \b
    infertui server stop embedded-llama
    infertui server stop --all
    """
    from infertui.pid import measuring
    from infertui.server import record

    if bool(profiles) == every:
        raise UsageError("say which: names of profiles, or --all", SHOWS)
    _sweep()
    if every:
        found = record.all_of()
        if not found:
            _say("nothing to stop: no server that InferTUI has started runs")
        for known in found:
            if (pid := known.owner or next(iter(measuring()), 0)) and not force:
                _say(f"{known.name} (pid {known.pid}) {_used(known, pid)}: left running")
            else:
                _end(known)
        return
    chosen = {name: _records(name) for name in dict.fromkeys(profiles)}
    errors = [_not_running(name) for name, found in chosen.items() if not found]
    for found in chosen.values():
        for known in found:
            if (pid := known.owner or next(iter(measuring()), 0)) and not force:
                told = f"{known.name} (pid {known.pid}) {_used(known, pid)}: stop that run"
                errors.append(ServerError(told, "--force ends the server under it"))
            else:
                _end(known)
    for error in errors[:-1]:
        _say(f"infertui: {error}")
    if errors:
        raise errors[-1]


def _used(known: Record, pid: int) -> str:
    return f"belongs to a run of pid {pid}" if known.owner else f"may be used by the run of pid {pid}"


def _end(known: Record) -> None:
    from infertui.server import process

    grace_s = GRACE_S
    with contextlib.suppress(UsageError):
        grace_s = max(grace_s, _profile(known.name).stop_s)
    process.stop(known, grace_s)
    if known.serves():
        raise ServerError(f"{known.name} (pid {known.pid}) does not end", f"its log: {known.log}")
    click.echo(f"ended {known.name} (pid {known.pid}, {known.url})")


def _not_running(name: str) -> ServerError:
    """Why there is nothing to stop. A UsageError says that there is no such profile."""
    from infertui.server.process import held_by, listens

    wanted = _profile(name)
    if not (wanted.address and listens(wanted.address)):
        return ServerError(f"{name} is not running", SHOWS)
    told = f"{name} is not running: what answers at {wanted.address} was not started by InferTUI, and is left alone"
    return ServerError(told, held_by(wanted.address))


# Status.


@server.command()
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...")
@json_option
def status(profiles: tuple[str, ...], as_json: bool) -> None:
    """Show what runs of these profiles, or of all of them.

    \b
    infertui server status
    infertui server status embedded-llama --json
    """
    from infertui.profile import available
    from infertui.server import KINDS, record
    from infertui.server.status import statuses

    _sweep()
    if profiles:
        records = [known for name in dict.fromkeys(profiles) for known in _records(name)]
        chosen = []
        for name in dict.fromkeys(profiles):
            try:
                chosen.append(_profile(name))
            except UsageError:
                if not _records(name):  # what runs is shown, whatever has become of its profile
                    raise
        errors: list[UsageError] = []
    else:
        records = record.all_of()
        chosen, errors = available(tuple(KINDS))
    found = statuses(chosen, records)
    if as_json:
        from infertui.report.data import encoded
        from infertui.report.server import status_object

        click.echo(encoded({"servers": [status_object(each) for each in found]}))
    elif found:
        from infertui.report.server import status_view
        from infertui.report.table import console

        shown = console()
        shown.print(status_view(found, shown.width))
    for error in errors:
        _say(f"! {error}")


# Logs.


@server.command()
@click.argument("profile")
@click.option("-n", "--lines", type=click.IntRange(0), default=40, show_default=True, metavar="LINES")
@click.option("-f", "--follow", is_flag=True, help="Go on until the server ends, or Ctrl-C.")
def logs(profile: str, lines: int, follow: bool) -> None:
    """Show the end of what a server has written: of the one that runs, else of the last that ran.

    \b
    infertui server logs embedded-llama
    infertui server logs embedded-llama -n 200 -f
    """
    from infertui.server.process import newest_log

    _sweep()
    running = _records(profile)
    known = running[-1] if running else None
    path = known.log if known is not None else newest_log(os.path.basename(profile).removesuffix(".toml"))
    if not path:
        _profile(profile)  # whether there is one at all
        raise ServerError(f"{profile} has written no log so far", f"infertui server start {profile}")
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise ServerError(f"{path}: {error.strerror or error}", f"{profile} writes a new one when it starts") from None
    with file:
        _say(f"log: {path}" + ("" if known is not None else " (it does not run any more)"))
        for line in _last(file, lines):
            _show(line)
        if follow and known is not None:
            _follow(file, known)


def _last(file: IO[bytes], count: int) -> list[bytes]:
    """The last lines; the file is left at its end."""
    size, most = file.seek(0, os.SEEK_END), LINE_BYTES
    while True:
        file.seek(max(0, size - most))
        text = file.read(most)
        if text.count(b"\n") > count or most >= size:
            file.seek(min(size, max(0, size - most) + len(text)))
            return text.splitlines()[-count:] if count else []
        most *= 2


def _show(line: bytes) -> None:
    from infertui.text import lines

    click.echo(lines(line.decode("utf-8", "replace")))


def _follow(file: IO[bytes], known: Record) -> None:
    rest = b""
    while True:
        serves = known.serves()  # asked before the log is read: its last words come before its end
        while text := file.read(LINE_BYTES):
            *whole, rest = (rest + text).split(b"\n")
            for line in whole:
                _show(line)
            if len(rest) > LINE_BYTES:
                _show(rest)
                rest = b""
        if not serves:
            break
        time.sleep(FOLLOW_S)
    if rest:
        _show(rest)
    _say(f"{known.name} (pid {known.pid}) has ended")

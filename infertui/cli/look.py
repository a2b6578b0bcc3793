"""`infertui list` and `infertui show`: look at what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from infertui.cli.shared import db_option, json_option, opened
from infertui.errors import UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from infertui.metric import Bound
    from infertui.store import Store


@click.command("list")
@click.argument("what", type=click.Choice(["runs", "profiles", "scenarios"]), default="runs")
@click.option("-n", "--limit", type=click.IntRange(1), default=40, show_default=True, metavar="N")
@click.option("--tag", default="", metavar="T", help="Runs with this tag.")
@click.option("--server", default="", metavar="S", help="Runs of servers with this in their name.")
@click.option("--scenario", default="", metavar="S", help="Runs of this scenario.")
@click.option("--label", default="", metavar="L", help="Runs with this label.")
@db_option
@json_option
def list_(what: str, limit: int, db: str | None, as_json: bool, **wanted: str) -> None:
    """List what there is: runs (newest first), profiles of servers, or scenarios.

    \b
    infertui list runs
    infertui list runs --tag candidate --server llama --scenario concurrent
    infertui list profiles
    infertui list scenarios --json
    """
    asked = [f"--{name}" for name, value in wanted.items() if value]
    if what != "runs" and asked:
        raise UsageError(f"{asked[0]} is of runs", f"infertui list runs {asked[0]} …")
    if what != "runs":
        (_list_profiles if what == "profiles" else _list_scenarios)(as_json)
        return
    from infertui.settings import database

    rows, tags = [], {}
    there = database(db).exists()
    if there:
        with opened(db) as store:
            rows, tags = store.runs(limit, **wanted), store.all_tags()
            for row in rows:
                if not row.summary and row.status != "running":  # cut off before it could be added up
                    row.summary = _added_up(store, row.id)
    if not there:
        from infertui.text import plain

        place = plain(str(database(db)), 1000)
        click.echo(f"no runs yet: there is no database at {place} (`infertui run` makes it)", err=True)
    if as_json:
        from infertui.report.data import list_text

        click.echo(list_text(rows, tags))
    elif not there:
        pass
    elif not rows and asked:
        click.echo(f"no run has that ({', '.join(asked)})", err=True)
    elif not rows:
        click.echo("no runs yet: infertui run --attach URL --model M", err=True)
    else:
        from infertui.report.table import console, runs_view

        shown = console()
        shown.print(runs_view(rows, shown.width, tags))


def _added_up(store: Store, run: int) -> str:
    import msgspec

    from infertui.result import stored

    return msgspec.json.encode(stored(store, str(run)).summary).decode()


def _list_profiles(as_json: bool) -> None:
    from infertui.profile import available
    from infertui.report.server import profile_object, profiles_view
    from infertui.server import KINDS
    from infertui.settings import Settings, user

    profiles, errors = available(tuple(KINDS))
    try:
        chosen = user()
    except UsageError as unread:
        chosen = Settings()
        errors.append(unread)
    if as_json:
        from infertui.report.data import encoded

        click.echo(encoded({"profiles": [profile_object(profile, chosen) for profile in profiles]}))
    elif profiles:
        from infertui.report.table import console

        shown = console()
        shown.print(profiles_view(profiles, chosen, shown.width))
    for error in errors:
        click.echo(f"! {error}", err=True)


def _list_scenarios(as_json: bool) -> None:
    from infertui.scenario import NAMES, scenario

    known = [scenario(name) for name in NAMES]
    if as_json:
        from infertui.report.data import encoded

        click.echo(encoded({"scenarios": [{"name": s.name, "title": s.title, "does": s.does} for s in known]}))
        return
    for each in known:
        click.echo(f"{each.name:12} {each.does}")


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--target", "targets", multiple=True, metavar="RULE", help="How many calls keep it: 'ttft_ms<500'.")
@click.option("--calls/--no-calls", "with_calls", default=True, help="Whether each call is listed.")
@click.option("--chart/--no-chart", "with_chart", default=True, help="Whether what was sampled is drawn.")
@click.option("--all", "every", is_flag=True, help="Every metric, also those seldom asked for.")
@click.option("--reply", metavar="CALL", help="What was answered in one call.")
@click.option("--curl", metavar="CALL", help="The shell command that sends a call again, as it was sent.")
@click.option("--log", "with_log", is_flag=True, help="What the run's server wrote.")
@db_option
@json_option
def show(
    runs: tuple[str, ...],
    targets: tuple[str, ...],
    with_calls: bool,
    with_chart: bool,
    every: bool,
    reply: str | None,
    curl: str | None,
    with_log: bool,
    db: str | None,
    as_json: bool,
) -> None:
    """Show a run: percentiles, each call, and how many calls keep a target. Several: side by side.

    RUN is a number, a label, or `last`.

    \b
    infertui show last
    infertui show 12 13
    infertui show 12 --target 'ttft_ms<500' --target 'e2e_ms<8000'
    infertui show 12 --reply r1-003
    infertui show 12 --curl r1-003
    infertui show 12 --log
    """
    from infertui.option import bound
    from infertui.result import stored

    bounds = tuple(bound(rule) for rule in targets)
    if len(runs) > 1:
        if reply is not None or curl is not None or with_log:
            raise UsageError(
                f"--{'log' if with_log else 'reply' if curl is None else 'curl'} is of one run", "name one"
            )
        _show_several(runs, bounds, db, every, as_json)
        return
    (run,) = runs
    with opened(db) as store:
        if curl is not None:
            _show_curl(store, run, curl)
            return
        report = stored(store, run, bounds)
        calls = store.calls(report.id)
        if reply is not None:
            _show_reply(store, calls, reply, report.id)
            return
        if with_log:
            _show_log(store, report.id)
            return
        samples = store.samples(report.id)
        reads = {name: at_us for name, (at_us, _, _) in store.reads(report.id).items()}
        tags, note = store.tags(report.id), store.run(str(report.id)).note
    if as_json:
        from infertui.report.data import run_text

        said = {"tags": tags, "note": note} if tags or note else {}
        click.echo(run_text(report, calls, samples, bounds, said))
        return
    from infertui.report.chart import samples_view
    from infertui.report.table import calls_view, console, report_view, targets_view

    shown = console()
    shown.print(report_view(report, every, shown.width))
    if tags or note:
        shown.print(_said(tags, note), "")
    if bounds:
        shown.print(targets_view(calls, bounds), "")
    if with_chart and samples:
        colour = shown.color_system is not None and not shown.no_color
        shown.print(samples_view(samples, calls, reads, shown.width, colour, report.telemetry.known.cores or None), "")
    if with_calls:
        shown.print(calls_view(calls, bounds, shown.width))


def _said(tags: list[str], note: str) -> Text:
    """What its user says of a run."""
    from rich.text import Text

    from infertui.text import lines, plain

    told = Text()
    if tags:
        told.append("tags    ", "dim").append(", ".join(plain(tag, 60) for tag in tags), "cyan")
    if note:
        told.append("\n" if tags else "").append("note    ", "dim").append(lines(note).replace("\n", "\n        "))
    return told


def _show_curl(store: Store, run: str, name: str) -> None:
    from infertui.report.curl import of_call

    found = of_call(store, run, name)
    if found.note:
        click.echo(f"# {found.note}", err=True)
    click.echo(found.command)


def _show_several(runs: tuple[str, ...], bounds: tuple[Bound, ...], db: str | None, every: bool, as_json: bool) -> None:
    from infertui.result import stored

    with opened(db) as store:
        reports = [stored(store, run, bounds) for run in runs]
    if as_json:
        from infertui.report.data import runs_text

        click.echo(runs_text(reports))
        return
    from infertui.report.table import beside_view, console, report_view

    shown = console()
    for report in reports:
        shown.print(report_view(report, every, shown.width))
    shown.print(beside_view(reports), "")


def _show_log(store: Store, run: int) -> None:
    from infertui.server.process import text_of
    from infertui.text import lines

    logs = store.logs(run)
    if not logs:
        raise UsageError(f"run {run} started no server", "what others started keeps its log elsewhere")
    for started_at, file, kept in logs:
        click.echo(f"[started {started_at}]", err=True)
        text = kept if kept is not None else text_of(file, 1 << 20)  # its runner was killed before it could keep it
        click.echo(lines(text.decode("utf-8", "replace")))


def _show_reply(store: Store, calls: Any, name: str, run: int) -> None:
    from infertui.text import lines

    found = next((call for call in calls if call.name == name), None)
    if found is None:
        raise UsageError(f"run {run} has no call {name!r}", f"`infertui show {run}` lists them")
    text, thought = store.reply(found.reply_hash)
    if thought:
        click.echo(f"[thought]\n{lines(thought)}\n[answer]")
    click.echo(lines(text))

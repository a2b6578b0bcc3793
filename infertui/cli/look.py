"""`infertui list` and `infertui show`: look at what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from infertui.cli.shared import db_option, json_option, opened
from infertui.errors import UsageError

if TYPE_CHECKING:
    from infertui.store import Store


@click.command("list")
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
        with opened(db) as store:
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


@click.command()
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
    with opened(db) as store:
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

"""`infertui compare` and `infertui export`: runs side by side, and runs as files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from infertui.cli.shared import db_option, json_option, opened
from infertui.errors import UsageError

if TYPE_CHECKING:
    from infertui.report.export import Format

out_option = click.option("-o", "--output", metavar="FILE", help="Where to write it (default, and -: to stdout).")
force_option = click.option("--force", is_flag=True, help="Write over a file that is there.")


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option("--baseline", metavar="RUN", help="What the others are compared with (default: the first, or as set).")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "md", "csv", "json"]),
    help="How it is written (default: as the file's ending says, else a table).",
)
@out_option
@force_option
@click.option("--all", "every", is_flag=True, help="Every metric, also those seldom asked for, in the table.")
@db_option
@json_option
def compare(
    runs: tuple[str, ...],
    baseline: str | None,
    format_: str | None,
    output: str | None,
    force: bool,
    every: bool,
    db: str | None,
    as_json: bool,
) -> None:
    """Compare runs: figures with their difference and ratio to the baseline, replies, and what is not alike.

    RUN is a number, a label, or `last`. The baseline is the run named, else the one of the baseline server in your
    settings, else the first.

    \b
    infertui compare 12 13
    infertui compare 12 13 14 --baseline 13 --all
    infertui compare 12 13 -o comparison.md
    """
    if len(runs) < 2:
        raise UsageError("a comparison needs two runs", "infertui compare 12 13")
    if as_json and format_ not in (None, "json"):
        raise UsageError(f"--json and --format {format_} say different things", "use one of them")
    from infertui.compare import of_store
    from infertui.report.export import exported, format_of

    chosen = "json" if as_json else format_ or (output and format_of(output)) or "table"
    with opened(db) as store:
        found = of_store(store, runs, baseline)
    if chosen != "table":
        _put(exported(found, _format(chosen)), output, force)
        return
    from infertui.report.compare import compare_view
    from infertui.report.table import console

    shown = console()
    if output in (None, "-"):
        shown.print(compare_view(found, every, shown.width))
        return
    with shown.capture() as captured:
        shown.print(compare_view(found, every, 120), width=120, no_wrap=True)
    _put(click.unstyle(captured.get()), output, force)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["md", "csv", "json"]),
    help="How it is written (default: as the file's ending says).",
)
@out_option
@force_option
@db_option
def export(runs: tuple[str, ...], format_: str | None, output: str | None, force: bool, db: str | None) -> None:
    """Export runs with every call: Markdown to read, CSV for a spreadsheet (a row a call), JSON for programs.

    RUN is a number, a label, or `last`. A comparison is exported by `infertui compare`. A file that is there is kept,
    unless --force is given.

    \b
    infertui export last -o run.md
    infertui export 12 13 --format csv > calls.csv
    infertui export 12 -o run.json --force
    """
    from infertui.report.data import whole
    from infertui.report.export import exported, format_of

    chosen = format_ or (output and format_of(output))
    if not chosen:
        raise UsageError("no format is named", "--format md, csv or json, or a file with such an ending")
    with opened(db) as store:
        found = [whole(store, run) for run in runs]
    _put(exported(found, _format(chosen)), output, force)


def _format(name: str) -> Format:
    from infertui.report.export import FORMATS

    return next(format for format in FORMATS if format == name)


def _put(text: str, output: str | None, force: bool) -> None:
    """To a file, whole or not at all, or to stdout."""
    if output is None or output == "-":
        click.echo(text, nl=False)
        return
    from pathlib import Path

    from infertui.report.export import save
    from infertui.text import plain

    place = Path(os.path.expanduser(output))
    save(text, place, force)
    click.echo(f"wrote {plain(str(place), 300)}", err=True)

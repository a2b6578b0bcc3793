"""`infertui tag`, `note` and `delete`: what a user says of runs, and runs that are not wanted any more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from infertui.cli.shared import db_option, opened
from infertui.errors import UsageError

if TYPE_CHECKING:
    from infertui.store import RunRow, Store

NAMED = 20  # runs that are told one by one before they are deleted


@click.command()
@click.argument("run")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--remove", is_flag=True, help="Take the tags off.")
@db_option
def tag(run: str, names: tuple[str, ...], remove: bool, db: str | None) -> None:
    """Give a run tags, to find it and others by, or take them off.

    RUN is a number, a label, or `last`.

    \b
    infertui tag last candidate 'mac studio'
    infertui tag 12 candidate --remove
    infertui list runs --tag candidate
    """
    from infertui.store import tag_of
    from infertui.text import plain

    tags = list(dict.fromkeys(tag_of(name) for name in names))
    with _writable(db) as store:
        row = store.run(run)
        for name in tags:
            if not remove:
                store.add_tag(row.id, name)
            elif not store.remove_tag(row.id, name):
                click.echo(f"run {row.id} had no tag {plain(name, 60)}", err=True)
        now = store.tags(row.id)
    click.echo(f"run {row.id}: {', '.join(plain(name, 60) for name in now) or 'no tags'}")


@click.command()
@click.argument("run")
@click.argument("text")
@db_option
def note(run: str, text: str, db: str | None) -> None:
    """Write a note on a run, in place of the one it has. An empty text clears it.

    RUN is a number, a label, or `last`.

    \b
    infertui note last 'with the new driver'
    infertui note 12 ''
    """
    with _writable(db) as store:
        row = store.run(run)
        store.set_note(row.id, text)
    click.echo(f"run {row.id}: {'the note is kept' if text.strip() else 'it has no note now'}")


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@db_option
def delete(runs: tuple[str, ...], yes: bool, db: str | None) -> None:
    """Delete runs with all their calls, replies and samples. It asks first; nothing brings them back.

    RUN is a number, a label, or `last`. A run that is still going on is refused.

    \b
    infertui delete 12 13
    infertui delete last --yes
    """
    with _writable(db) as store:
        rows = list({row.id: row for row in map(store.run, runs)}.values())
        if not yes and not sys.stdin.isatty():
            raise UsageError("nobody is there to be asked", "--yes deletes without asking")
        for row in rows[:NAMED]:
            click.echo(_told(store, row), err=True)
        if len(rows) > NAMED:
            click.echo(f"… and {len(rows) - NAMED} more", err=True)
        calls = store.call_count([row.id for row in rows])
        what = f"{len(rows)} run{'s' if len(rows) != 1 else ''} with {calls} call{'s' if calls != 1 else ''}"
        if not yes and not click.confirm(f"delete {what}?", err=True):
            click.echo("nothing was deleted", err=True)
            return
        store.delete_runs([row.id for row in rows])
    click.echo(f"deleted {what}")


def _writable(db: str | None) -> Store:
    """A database that is there: to keep something in a new one would only hide a wrong name."""
    from infertui.settings import database

    if not database(db).exists():
        raise UsageError(f"there is no database at {database(db)}", "`infertui run` makes one; --db FILE names another")
    return opened(db, write=True)


def _told(store: Store, row: RunRow) -> str:
    from infertui.text import plain

    label = f" · {plain(row.label, 40)}" if row.label else ""
    tags = f" · {plain(', '.join(store.tags(row.id)), 60)}" if store.tags(row.id) else ""
    when = row.started_at[:16].replace("T", " ")
    return f"run {row.id}  {when}  {row.scenario} · {plain(row.server, 40)} · {plain(row.model, 40)}{label}{tags}"

"""What several commands share: options, and the database."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from infertui.store import Store

db_option = click.option("--db", metavar="FILE", help="Database to use (default: results.db, see the README).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")


def opened(db: str | None, write: bool = False) -> Store:
    """The database, with runs whose runner died marked as interrupted."""
    from infertui.errors import StoreError
    from infertui.pid import alive
    from infertui.settings import database
    from infertui.store import Store

    path = database(db)
    store = Store(path, write)
    if store.migrated_from is not None:
        click.echo(f"{path} was brought up to date: an older InferTUI reads it no more", err=True)
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

"""`infertui web` and `infertui keys`: the app in a browser, and the names of its keys."""

from __future__ import annotations

import sys

import click

from infertui.cli.shared import db_option, json_option
from infertui.errors import UsageError

NEEDED = ("aiohttp", "textual_serve")  # of what `web` is made


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="Where (default: 8400, or the next free one).")
@click.option("--open/--no-open", "opens", default=False, help="Open the address in your browser.")
@db_option
def web(port: int | None, opens: bool, db: str | None) -> None:
    """Serve the app to a browser on this machine.

    It prints the address; the token in it keeps others out. Nobody else's machine can connect. Each tab is an app of
    its own: closing it stops the run that it has started, and keeps what was measured.

    \b
    infertui web
    infertui web --port 9000 --open --db other.db
    """
    try:
        from infertui.web import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        raise UsageError("the app in a browser needs textual-serve", "pip install 'infertui[web]'") from None
    from infertui.settings import database

    command = [sys.executable, "-m", "infertui", "session", "--db", str(database(db).absolute())]

    def tell(address: str) -> None:
        click.echo(address)
        sys.stdout.flush()

    serve(command, port, opens, tell, lambda text: click.echo(text, err=True))


@click.command(hidden=True)
@db_option
@click.option("--lifeline", type=int, help="A pipe: at its end whoever started this is gone.")
def session(db: str | None, lifeline: int | None) -> None:
    """The app behind one tab of a browser, for `infertui web`."""
    if lifeline is not None:
        from threading import Thread

        Thread(target=_go_with, args=(lifeline,), daemon=True).start()
    from infertui.tui.app import run as open_app

    open_app(db)


def _go_with(lifeline: int) -> None:
    """End this app as soon as nobody holds the other end, and in any case soon after."""
    import os
    import signal
    import time

    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)
    os._exit(1)


@click.command()
@json_option
def keys(as_json: bool) -> None:
    """List the keys of the app by their names, under which settings.toml gives them others: those that it has now.

    \b
    infertui keys
    infertui keys --json
    """
    from infertui.report.data import encoded
    from infertui.settings import Settings, user
    from infertui.tui.keys import all_of, checked

    errors: list[str] = []
    try:
        settings = user()
    except UsageError as unread:
        settings, errors = Settings(), [str(unread)]
    chosen, refused = checked(settings.app.keys)
    known = all_of(chosen)
    for error in (*errors, *refused):
        click.echo(f"! {error}", err=True)
    if as_json:
        click.echo(encoded({"keys": [key._asdict() for key in known]}))
        return
    name_room, key_room = (max(len(key[column]) for key in known) for column in (0, 1))
    for key in known:
        click.echo(f"{key.id:{name_room}}  {key.keys:{key_room}}  {key.does}")
    click.echo('\nin settings.toml:\n[app.keys]\n"app.help" = "f1"', err=True)

"""The commands. Data goes to stdout, narration to stderr; each command imports what it needs when it is called."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

import click

from infertui import __version__
from infertui.cli.app import keys, session, web
from infertui.cli.compare import compare, export
from infertui.cli.doctor import doctor
from infertui.cli.keep import delete, note, tag
from infertui.cli.look import list_, show
from infertui.cli.proof import mock, selftest
from infertui.cli.run import run
from infertui.cli.server import server
from infertui.cli.shared import db_option
from infertui.errors import InferTUIError, UsageError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=CONTEXT, invoke_without_command=True)
@click.version_option(__version__, prog_name="infertui")
@db_option
@click.pass_context
def cli(context: click.Context, db: str | None) -> None:
    """Find out which local inference server your agents should run on.

    Without a command it opens the app.

    \b
    infertui                                                 the app: launch, watch, compare
    infertui run                                             measure the servers of your settings
    infertui run --attach http://127.0.0.1:8080 --model M    measure a server that runs
    infertui show last                                       look at the figures again
    infertui compare 12 13                                   two runs side by side, with their differences
    infertui doctor                                          what is installed here, and what is missing
    infertui selftest                                        what our own clock is worth
    """
    if context.invoked_subcommand is not None:
        if db:  # each command has its own, and would not see this one
            raise UsageError("--db stands after the command", f"infertui {context.invoked_subcommand} --db {db} …")
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):  # it draws on stderr
        raise UsageError("the app needs a terminal", "`infertui --help` lists what works without one")
    from infertui.tui.app import run as open_app

    open_app(db)


for command in (
    run,
    list_,
    show,
    compare,
    export,
    tag,
    note,
    delete,
    server,
    doctor,
    selftest,
    mock,
    web,
    keys,
    session,
):
    cli.add_command(command)


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
    from infertui.text import plain

    click.echo(plain(f"infertui: {message}{f' ({hint})' if hint else ''}", 4000), err=True)
    sys.exit(code)

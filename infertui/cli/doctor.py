"""`infertui doctor`: what is installed here, what is missing, and the commands that mend it."""

from __future__ import annotations

import click

from infertui.cli.shared import json_option


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what is installed here, what runs, what is missing, and what mends it.

    \b
    infertui doctor
    infertui doctor --json
    """
    from infertui.doctor import examine

    found = examine()
    if as_json:
        from infertui.report.data import encoded

        click.echo(encoded(found))
        return
    from infertui.report.doctor import findings_view
    from infertui.report.table import console

    shown = console()
    shown.print(findings_view(found, shown.width), soft_wrap=True)

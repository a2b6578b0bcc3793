"""`infertui selftest` and `infertui mock`: what our own clock is worth, and a server to prove any client against."""

from __future__ import annotations

import sys

import click

from infertui.errors import UsageError


@click.command()
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


@click.command()
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

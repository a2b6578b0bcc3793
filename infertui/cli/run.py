"""`infertui run`: measure servers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from infertui.cli.shared import db_option, json_option, opened
from infertui.errors import InferTUIError, Interrupted, UsageError
from infertui.scenario.parameter import PARAMETERS, Parameter

if TYPE_CHECKING:
    from infertui.bench import Asked
    from infertui.profile import Profile
    from infertui.result import Report


NONE = "pip install 'infertui[llama,mlx]' adds two; `infertui doctor` shows what is here"


def _parameters(command: Callable[..., None]) -> Callable[..., None]:
    """A flag for each parameter of the scenarios."""
    for known in reversed(PARAMETERS.values()):
        command = _option(known)(command)
    return command


def _option(known: Parameter) -> Callable[[Callable[..., None]], Callable[..., None]]:
    about = f"{known.help.removesuffix('.')} (default: {known.default})."
    if known.kind == "switch":
        return click.option(f"{known.flag}/--no-{known.flag[2:]}", known.name, default=None, help=about)
    if known.kind == "number":
        names = [known.flag, known.name, *([known.short] if known.short else [])]
        return click.option(*names, type=int, metavar=known.metavar, help=about)
    if known.kind == "choice":
        return click.option(known.flag, known.name, type=click.Choice(known.choices), help=about)
    told = f"{known.help.removesuffix('.')}: {', '.join(known.choices)} (default: {known.default})."
    return click.option(known.flag, known.name, multiple=True, metavar=known.metavar, help=told)


@click.command()
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...")
@click.option(
    "--attach", "urls", metavar="URL", multiple=True, help="A running server; again for more, which take turns."
)
@click.option(
    "--model", "models", metavar="M", multiple=True, help="Model to use; one for all servers, or one for each."
)
@click.option("--scenario", default="single", show_default=True, metavar="S", help="What is sent: `list scenarios`.")
@_parameters
@click.option(
    "--api",
    type=click.Choice(["chat", "completions", "native"]),
    help="What is spoken (default: chat); native is the server's own: llama.cpp's or Ollama's.",
)
@click.option("--stream/--no-stream", default=True, help="Whether replies come token by token.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 10),
    metavar="T",
    help="Of the sampling (default: the profile's, else 0).",
)
@click.option(
    "--sampling-seed",
    type=click.IntRange(0, 1 << 31),
    metavar="N",
    help="Sent as `seed`; some servers turn serial with it.",
)
@click.option("--target", "targets", multiple=True, metavar="RULE", help="What a good call keeps: 'ttft_ms<500'.")
@click.option(
    "--timeout", "timeouts", multiple=True, metavar="KEY=S", help="connect, first-byte, first-token, idle, total."
)
@click.option("--api-key-env", default="", metavar="NAME", help="Variable that holds the API key.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 3600),
    metavar="S",
    help="How long to wait for a busy or hot machine to calm down (default: 30; 0: go on, and mark the run).",
)
@click.option(
    "--samples/--no-samples",
    default=True,
    help="Whether CPU, GPU, memory and power are sampled, and the machine's conditions looked at.",
)
@click.option("--label", default="", metavar="L", help="A name to find the run by.")
@db_option
@json_option
@click.option("--events", is_flag=True, help="Print what happens as JSON lines, for programs.")
def run(
    profiles: tuple[str, ...],
    urls: tuple[str, ...],
    models: tuple[str, ...],
    targets: tuple[str, ...],
    timeouts: tuple[str, ...],
    api: str | None,
    api_key_env: str,
    db: str | None,
    as_json: bool,
    events: bool,
    **asked: Any,
) -> None:
    """Measure servers, one after the other, and keep every call.

    A PROFILE says how a server is started (`list profiles`); --attach takes one that runs. Without either, the
    servers of your settings are measured: as delivered llama.cpp and MLX on a small model made on the spot.

    \b
    infertui run
    infertui run llama-server --model ~/models/qwen3.gguf --scenario concurrent -c 4 -n 16 --rounds 3
    infertui run --attach http://127.0.0.1:1234 --attach http://127.0.0.1:8080 --model m --json

    Ctrl-C once stops kindly and reports what was measured; twice stops at once.
    """
    from msgspec.structs import replace

    from infertui.bench import Asked
    from infertui.option import bound, limits, of_settings, servers
    from infertui.result import failure
    from infertui.scenario import scenario
    from infertui.scenario.base import Params
    from infertui.settings import user

    if as_json and events:
        raise UsageError("--json and --events both want stdout", "use one of them")
    if api_key_env and not os.environ.get(api_key_env):
        raise UsageError(f"--api-key-env {api_key_env}: that variable is not set", f"export {api_key_env}=…")
    given = {name: asked[name] for name in PARAMETERS if asked[name] is not None}
    params = scenario(asked["scenario"]).checked(Params(**given))
    if asked["label"] == "last":
        raise UsageError("--label last: `last` means the newest run", "use another name")
    if asked["label"].isdecimal():
        raise UsageError(f"--label {asked['label']}: that is how runs are numbered", "use a name with a letter in it")
    if asked["temperature"] is not None and asked["temperature"] != asked["temperature"]:
        raise UsageError("--temperature nan: not a number", "0 is the usual choice for a measurement")
    for flag, text in (("--label", asked["label"]), *(("--model", model) for model in models)):
        if not text.isprintable() and any("\ud800" <= char <= "\udfff" for char in text):
            raise UsageError(f"{flag}: not valid UTF-8", "check the encoding of your terminal")
    from infertui.scenario.corpus import load

    load(params.kinds or None)
    _sweep()
    chosen = servers(profiles, urls, models, api, api_key_env)
    wanted, named = user(), bool(profiles or urls)
    spare = of_settings("fallback", wanted.fallback) if wanted.fallback and not named else None
    baseline = of_settings("baseline", wanted.baseline).name if wanted.baseline and not named else ""
    tolerated = wanted.conditions
    if asked["wait_s"] is not None and asked["wait_s"] != asked["wait_s"]:
        raise UsageError("--wait nan: not a number", "0 goes on at once")
    if asked["wait_s"] is not None:
        tolerated = replace(tolerated, wait_s=asked["wait_s"])
    spare = _prepare(chosen, spare)
    plan = Asked(
        servers=chosen,
        fallback=spare,
        scenario=asked["scenario"],
        params=params,
        stream=asked["stream"],
        temperature=asked["temperature"],
        seed=asked["sampling_seed"],
        label=asked["label"],
        limits=limits(timeouts),
        bounds=tuple(bound(rule) for rule in targets),
        samples=asked["samples"],
        tolerated=tolerated,
        saturated=wanted.saturation,
        cost=wanted.cost,
    )
    reports, stopped = _run(plan, db, events)
    if as_json:
        from infertui.report.data import runs_text

        click.echo(runs_text(reports))
    elif not events:
        from infertui.report.table import beside_view, console, report_view

        shown = console()
        for report in reports:
            shown.print(report_view(report, width=shown.width))
        if len(reports) > 1:
            shown.print(beside_view(reports, baseline), "")
    if stopped:
        numbers = " ".join(str(report.id) for report in reports)
        raise Interrupted("stopped: what was measured is kept", f"`infertui show {numbers}`")
    if error := failure(reports):
        raise error


def _sweep() -> None:
    """What an InferTUI that was killed has left behind is ended first."""
    from infertui.server.process import sweep

    sweep(lambda said: click.echo(said, err=True))


def _prepare(chosen: tuple[Profile, ...], spare: Profile | None) -> Profile | None:
    """What is wrong with a profile or its model is said before anything starts; so is it when no engine is there.

    Returns the fallback, if it can be one.
    """
    from infertui.server import server
    from infertui.server.state import NotInstalled
    from infertui.text import plain

    missing = []
    for each in chosen:
        try:
            server(each).prepare()
        except NotInstalled as error:
            missing.append(error)
    if spare is not None:
        try:
            server(spare).prepare()
        except InferTUIError as error:
            click.echo(f"! the fallback cannot be used: {plain(str(error), 600)}", err=True)
            spare = None
    if spare is None and len(missing) == len(chosen):
        raise missing[0] if len(missing) == 1 else NotInstalled("no engine is installed", NONE)
    return spare


def _run(plan: Asked, db: str | None, events: bool) -> tuple[list[Report], bool]:
    from infertui.bench import execute
    from infertui.report.live import outlet

    with opened(db, write=True) as store, outlet(events) as out:
        reports = execute(plan, store, out.put)
    return reports, any(report.status == "stopped" for report in reports)

"""A recorded run of two servers: its events, and a database as that run would have left it."""

from __future__ import annotations

from array import array
from pathlib import Path

import msgspec
import pytest

from infertui import store as database
from infertui.event import CallEnded, Event, RunEnded, RunStarted, Sampled, Warned, parse
from infertui.profile import Profile
from infertui.result import Telemetry
from infertui.sample import Sample
from infertui.scenario.corpus import load
from infertui.scenario.plan import digest
from infertui.store import Store, Writer
from infertui.tui.story import Story
from infertui.usage import Known

FILE = Path(__file__).parent / "events" / "two_servers.jsonl"
AT = "2026-11-20T10:{:02}:00.000+00:00"
ANSWER = "The request belongs to the coding agent, since it names a file and a function that fails."
ODD = {"reasoning": "again and " * 40, "router": ""}  # of the second server


def events() -> list[Event]:
    return [each for line in FILE.read_bytes().splitlines() if (each := parse(line)) is not None]


def story(count: int | None = None) -> Story:
    """What the first `count` events tell."""
    told = Story()
    for event in events()[:count]:
        told.add(event)
    return told


def half() -> int:
    """How many events there are until the second server is in the middle of its first round."""
    said = events()
    second = [each.run for each in said if isinstance(each, RunStarted)][1]
    measured = [at for at, each in enumerate(said) if isinstance(each, CallEnded) and each.run == second]
    return measured[12]


def database_of(path: Path, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> list[int]:
    """The recorded experiment, as often as that, at times of day that are always the same. The numbers of its runs."""
    numbers: list[int] = []
    with Store(path) as store:
        for time in range(times):
            monkeypatch.setattr(database, "now", lambda minute=2 * time: AT.format(minute))
            numbers += _kept(store, path)
    return numbers


def _kept(store: Store, path: Path) -> list[int]:
    said = events()
    started = [each for each in said if isinstance(each, RunStarted)]
    experiment, _ = store.add_experiment(b'{"scenario": "concurrent"}')
    facts = {"system": "Linux 6.1", "cpu": "a CPU with two cores", "cores": 2, "ram_bytes": 25_000_000_000}
    machine = store.add_machine("m", msgspec.json.encode(facts))
    setup = {"api": "chat", "stream": True, "temperature": 0.0, "concurrency": 4, "requests": 8, "max_tokens": 48}
    setup |= {"rounds": 2, "cache": "cold", "kinds": [], "seed": 0, "targets": []}
    prompts = {prompt.hash: msgspec.json.encode(prompt.messages) for prompt in load()}
    numbers: list[int] = []
    writer = Writer(path)
    for each in started:
        kind = "llama-server" if "llama" in each.server else "mlx-lm"
        profile = Profile(kind=kind, name=each.server, model="embedded")
        told = {"settings": {"slots": 4, "context": 4096}, "version": "b1", "caveats": each.caveats}
        encoded = msgspec.json.encode({"profile": profile, **told})
        url = f"http://127.0.0.1:80{len(numbers)}0"
        server = store.add_server(f"{profile.kind}{url}", profile.kind, profile.name, url, encoded)
        run = store.add_run(
            experiment_id=experiment,
            server_id=server,
            machine_id=machine,
            scenario=each.scenario,
            model=each.model,
            setup=msgspec.json.encode(setup).decode(),
            plan_hash="p",
            label="demo",
            clock_ns=each.clock_ns,
            unix_ns=each.unix_ns,
        )
        numbers.append(run)
        _fill(writer, run, each.run, said, prompts)
    writer.flush()
    writer.close()
    return numbers


def _fill(writer: Writer, run: int, recorded: int, said: list[Event], prompts: dict[str, bytes]) -> None:
    mine = [each for each in said if getattr(each, "run", None) == recorded]
    for ended in (each for each in mine if isinstance(each, CallEnded)):
        call = ended.call
        reply = ODD.get(call.kind, ANSWER) if recorded == 2 else ANSWER
        record = msgspec.structs.replace(call, reply_hash=digest(reply.encode()) if reply else "")
        at_us = array("I", [int(1000 * (each or 0)) for each in (call.ttft_ms, call.e2e_ms)])
        reads = (at_us, array("I", [1, max(1, call.n_pieces - 1)]), array("I"))
        writer.call(run, record, reads, prompts.get(call.prompt_hash, b"[]"), (reply, ""))
    samples = [
        Sample(source="processes", at_ns=each.at_ns, since_ns=each.at_ns - 200_000_000, values=each.values)
        for each in mine
        if isinstance(each, Sampled)
    ]
    writer.samples(run, samples)
    (end,) = (each for each in mine if isinstance(each, RunEnded))
    warnings = [each.message for each in mine if isinstance(each, Warned)]
    told = Telemetry(sources=["processes (/proc)", "machine (/proc)"], known=Known(cores=2, threads=1, slots=4))
    summary = msgspec.json.encode(end.summary)
    generator = msgspec.json.encode(end.summary.generator)
    writer.end_run(run, end.status, "", warnings, generator, summary, msgspec.json.encode(told))

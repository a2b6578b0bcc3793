"""An experiment as it was asked for, and a server's place in it."""

from __future__ import annotations

from array import array
from typing import Any

import msgspec

from infertui.client.driver import Sender
from infertui.client.wire import Limits
from infertui.condition import Tolerated
from infertui.metric import Bound, CallRecord, Start
from infertui.profile import Profile
from infertui.result import Telemetry
from infertui.sample import Sample
from infertui.scenario.base import Params, Scenario
from infertui.scenario.plan import digest
from infertui.server import server
from infertui.usage import Cost, Saturated


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment as it was asked for: everything needed to do it again. None: as the profile says."""

    servers: tuple[Profile, ...]
    scenario: str
    params: Params = Params()
    stream: bool = True
    temperature: float | None = None
    seed: int | None = None
    label: str = ""
    limits: Limits = Limits()
    bounds: tuple[Bound, ...] = ()
    samples: bool = True  # whether the machine and the server are watched meanwhile
    tolerated: Tolerated = Tolerated()
    saturated: Saturated = Saturated()
    cost: Cost = Cost()
    fallback: Profile | None = None  # takes the place of the first server that does not start


class Turn:
    """A server in an experiment: its run, and what it has come to so far."""

    def __init__(self, asked: Asked, profile: Profile, chosen: Scenario) -> None:
        self.server = server(profile)
        params = asked.params
        if params.max_tokens is None:
            params = msgspec.structs.replace(params, max_tokens=profile.max_tokens)
        self.params = chosen.checked(params)
        self.rounds = [chosen.round(self.params, number) for number in range(1, self.params.rounds + 1)]
        for block in self.rounds:
            block.plan.checked()
        self.calls = sum(len(block.plan.calls) for block in self.rounds)
        self.temperature = asked.temperature if asked.temperature is not None else profile.temperature or 0.0
        self.run = 0
        self.model = ""
        self.sender: Sender | None = None  # while its server serves
        self.prepared = False
        self.rounds_left = self.params.rounds  # that have not begun
        self.round_s: float | None = None  # what the last one took
        self.starts: list[Start] = []
        self.log = (0, "")  # of the server that runs: its row, its file
        self.records: list[CallRecord] = []
        self.reads_us: list[array[int]] = []  # of the good measured calls
        self.unloaded_ttft_ms: dict[str, float] = {}
        self.without: set[str] = set()
        self.warnings: list[str] = []
        self.loop_lag_ns = array("q")
        self.cpu_s = 0.0
        self.samples: list[Sample] = []
        self.telemetry = Telemetry(off=not asked.samples)
        self.elsewhere = False  # its server runs on another machine
        self.wait_left_s = asked.tolerated.wait_s  # for the machine to calm down
        self.failed = ""
        self.header = self.fingerprint = ""

    @property
    def plan_hash(self) -> str:
        return digest("".join(block.plan.hash for block in self.rounds).encode())

    def setup(self, asked: Asked) -> dict[str, Any]:
        """How the calls of a run were made: what two runs must have in common to be compared without a word."""
        profile = self.server.profile
        told: dict[str, Any] = {"api": profile.api, "stream": asked.stream, "temperature": self.temperature}
        told |= {"top_p": profile.top_p, "sampling_seed": asked.seed, "targets": asked.bounds}
        return {**told, **msgspec.structs.asdict(self.params)}

"""What could be sampled on this machine: every source asked once for real, in the sampler as a run would have it."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time

import msgspec

from infertui.condition import Conditions
from infertui.sample import SERIES, Absent, Sample
from infertui.telemetry.awake import available
from infertui.telemetry.sampling import Sampling

LOOKED_S = 1.5  # rates need two readings
BURNT_S = 1.2  # a power that is not counted shows only under load


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """Each source with what it tells here. `awake` is what keeps the machine from sleeping during a run."""

    sources: dict[str, tuple[str, ...]]
    absent: tuple[Absent, ...]
    awake: str = ""
    conditions: Conditions | None = None
    trouble: str = ""


def survey() -> Survey:
    """Takes two seconds, and on a Mac keeps one core busy for one of them: so it shows which meters are dead."""
    found: dict[str, dict[str, None]] = {}

    def sampled(sample: Sample) -> None:
        known = (key for key, value in sample.values.items() if value is not None and key in SERIES)
        found.setdefault(sample.source, {}).update(dict.fromkeys(known))

    sampling = Sampling(sampled)
    try:
        conditions = asyncio.run(_looked(sampling))
    finally:
        sampling.stop()
    awake = available()
    absent = [*sampling.absent.values(), *([awake] if isinstance(awake, Absent) else [])]
    return Survey(
        sources={name: tuple(key for key in SERIES if key in found.get(name, ())) for name in sorted(sampling.sources)},
        absent=tuple(sorted(absent, key=lambda each: each.name.lower())),
        awake=awake if isinstance(awake, str) else "",
        conditions=conditions,
        trouble=sampling.dead,
    )


async def _looked(sampling: Sampling) -> Conditions | None:
    sampling.watch((os.getpid(),), own=())  # this process stands for a server
    await sampling.ready()
    if sys.platform == "darwin":
        threading.Thread(target=_burn, daemon=True).start()
    until = time.monotonic() + LOOKED_S
    while time.monotonic() < until and not sampling.dead:
        await asyncio.sleep(0.1)
        sampling.drain()
    looked = await sampling.look(timed=False)
    return looked.conditions if looked is not None else None


def _burn() -> None:
    until = time.monotonic() + BURNT_S
    while time.monotonic() < until:
        pass

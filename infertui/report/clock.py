"""What the self-test found, for a person."""

from __future__ import annotations

from infertui.metric import LAG_LIMIT_MS
from infertui.report.figure import number
from infertui.selftest import Findings


def clock_text(found: Findings) -> str:
    """The findings as lines for a person."""
    main = found.clock
    cpu = f"{number(main.cpu_us_per_token, 'µs')} a token in the runner; the whole command {main.command_cpu_s:.2f} s"
    lines = [
        f"{main.streams} streams at {main.rate:g} tokens/s each, {main.tokens:,} tokens",
        f"  first token   read − sent   p50 {number(main.first_p50_ms, 'ms')}   p99 {number(main.first_p99_ms, 'ms')}",
        f"  last token    read − sent   p50 {number(main.last_p50_ms, 'ms')}   p99 {number(main.last_p99_ms, 'ms')}",
        f"  every token   read − sent   p50 {number(main.token_p50_ms, 'ms')}   p99 {number(main.token_p99_ms, 'ms')}",
        f"  gap           error         p50 {main.gap_p50_percent:.2f} %   p99 {main.gap_p99_percent:.2f} %"
        f"   a call's mean gap, worst {main.mean_gap_percent:.3f} %",
        f"  CPU           {cpu}",
        f"  wall          {main.command_wall_s:.1f} s for {main.load_s:.1f} s of load",
        f"  the mock's own lateness p99 {number(main.mock_p99_ms, 'ms')} (in none of the errors above)",
    ]
    for step in found.steps:
        state = "ok" if step.punctual else "late" if step.fed else "the mock is late"
        lines.append(
            f"  {step.streams * step.rate:>8,.0f} tokens/s   token p99 {number(step.token_p99_ms, 'ms'):>9}"
            f"   CPU {number(step.cpu_us_per_token, 'µs'):>8} a token   {state}"
        )
    if found.stopped_by:
        most = number(found.most_tokens_per_s)
        lines.append(f"most tokens/s before lag (p99 {LAG_LIMIT_MS:g} ms): {most} (stopped by: {found.stopped_by})")
    if not main.punctual:
        reason = "this machine was too busy" if main.fed else "the mock itself could not keep its schedule"
        lines.append(f"NOT punctual: {reason}; figures taken now would be marked invalid or worth little")
    return "\n".join(lines)

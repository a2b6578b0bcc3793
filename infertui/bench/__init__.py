"""One benchmark from what was asked to its last row: start, warm up, drive the blocks, keep each call, stop, add up.

Servers take turns in each round, in rotated order, so that whatever drifts (heat, other load) drifts for all of them.
What happens is told as events; nothing but the load runs in this process while a block is timed.
"""

from infertui.bench.asked import Asked
from infertui.bench.work import execute

__all__ = ["Asked", "execute"]

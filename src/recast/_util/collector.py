"""Fewer runs of Python's cycle collector while graphs are built.

By default it looks through the youngest objects after every 700 allocations; a graph is many thousand objects that
nearly all stay, so a tenth of a conversion (more in large graphs) goes into looking at them again and again. Those that
stayed once are left alone for long, so that the cost does not grow faster than the graph.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ALLOCATIONS = 50_000  # between two runs
_RUNS = 100  # before objects that stayed are looked at again

_lock = threading.Lock()
_inside = 0
_before: tuple[int, int, int] = (0, 0, 0)


@contextmanager
def rarely() -> Iterator[None]:
    """Raise the collector's threshold inside; the last of several threads to leave puts the caller's back.

    Nothing changes if the caller switched it off or set a higher threshold.
    """
    global _inside, _before
    with _lock:
        if _inside == 0:
            _before = gc.get_threshold()
            if 0 < _before[0] < _ALLOCATIONS:
                gc.set_threshold(_ALLOCATIONS, max(_RUNS, _before[1]), _before[2])
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                gc.set_threshold(*_before)

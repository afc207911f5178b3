"""Values of a graph for all samples, asked for in the order of computing: no node runs twice.

Layer-by-layer methods look at one value after another. From one to the next only the nodes between them run; what later
nodes read is kept in files, batch by batch. Where that takes too much room, the next value is computed from further up.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from recast._util.child import RemoteRunner, TensorSpec
from recast.measure.calibrate import Graph
from recast.measure.data import Samples

BATCH = 16  # samples in one run
ROOM = 2 << 30  # bytes of files
Prepare = Callable[[RemoteRunner, Sequence[str]], None]


class Walk:
    """A walk through a graph (a context manager; its files go with it).

    Args:
        graph: to run.
        samples: to run on.
        wanted: names of the values that will be asked for, in this order.
        prepare: called with the runner of each part, and with the names that the part reads, before it runs.
        batch: samples in one run.
        room: bytes that may be kept.
    """

    def __init__(
        self,
        graph: Graph,
        samples: Samples,
        wanted: Sequence[str],
        prepare: Prepare | None = None,
        batch: int = BATCH,
        room: int = ROOM,
    ) -> None:
        self._graph, self._samples, self._prepare = graph, samples, prepare
        self._batch, self._room = batch, room
        self._given = [
            TensorSpec(v.name or "", np.dtype(v.dtype.numpy()).name, tuple(v.shape or ()))  # type: ignore[union-attr,arg-type]
            for v in graph.model.graph.inputs
            if v.name in samples.feeds
        ]
        self._asked = list(wanted)  # what is still to come
        self._maker = {name: number for number, made in enumerate(graph.made) for name in made}
        self._readers: dict[str, set[int]] = {}
        for number in self._above(wanted, set()):
            for name in graph.read[number]:
                self._readers.setdefault(name, set()).add(number)
        self._done: set[int] = set()
        self._kept: dict[str, int] = {}  # by name: bytes
        self._folder = tempfile.TemporaryDirectory(prefix="recast-")

    def __enter__(self) -> Walk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def values(self, name: str) -> Iterator[np.ndarray]:
        """A value batch by batch; the last batch may be filled up (see ``Samples.batches``)."""
        if name in self._asked:
            self._asked.remove(name)
        feeds = self._samples.batches(self._given, self._batch)
        if name in self._samples.feeds:
            yield from (f[name] for f in feeds)
        elif name in self._kept:
            for number, _ in enumerate(feeds):
                yield np.load(self._file(name, number))
        else:
            if self._maker[name] in self._done:
                self._forget()
            yield from self._walk(name, feeds)

    def changed(self, names: Iterable[str]) -> None:
        """Initializers have other values from now on; what was computed with them is computed again."""
        new = set(names)
        if any(new & self._graph.read[number] for number in self._done):
            self._forget()

    def _walk(self, name: str, batches: Iterator[dict[str, np.ndarray]]) -> Iterator[np.ndarray]:
        """Run the nodes between what is kept and a value."""
        nodes = sorted(self._above([name], self._done))
        made = {n for number in nodes for n in self._graph.made[number]}
        read = {n for number in nodes for n in self._graph.read[number]} - made
        begin, given = ([n for n in sorted(read) if n in held] for held in (self._kept, {s.name for s in self._given}))
        after = self._done | {number for number in nodes if self._graph.read[number]}  # constants can be made again
        later = [n for n in sorted(made) if self._is_needed(n, after)]
        room = self._room - sum(self._kept.values())
        sizes = dict.fromkeys(later if all(map(self._graph.is_typed, later)) else (), 0)
        keeps = len(sizes) == len(later)
        with self._graph.part(nodes, [*given, *begin], [name, *sizes]) as runner:
            if self._prepare is not None:
                self._prepare(runner, sorted(read))
            for number, feeds in enumerate(batches):
                kept = {n: np.load(self._file(n, number)) for n in begin}
                found = runner.run({n: feeds[n] for n in given} | kept)
                for n in sizes:
                    sizes[n] += found[n].nbytes
                keeps = keeps and sum(sizes.values()) <= room
                for n in sizes if keeps else ():
                    np.save(self._file(n, number), found[n])
                yield found[name]
        self._kept |= sizes
        if keeps:
            self._done = after
            self._drop([n for n in self._kept if not self._is_needed(n, after)])
        else:
            self._drop(list(sizes))

    def _is_needed(self, name: str, done: set[int]) -> bool:
        """Whether a value is read by a node that has not run, or is asked for again."""
        is_constant = not self._graph.read[self._maker[name]]
        return not is_constant and (bool(self._readers.get(name, set()) - done) or name in self._asked)

    def _above(self, names: Iterable[str], done: set[int]) -> set[int]:
        """Numbers of the nodes that must run for some values, those that ran before left out."""
        found: set[int] = set()
        pending = list(names)
        while pending:
            number = self._maker.get(pending.pop())
            if number is None or number in found or number in done:
                continue
            found.add(number)
            pending += self._graph.read[number]
        return found

    def _forget(self) -> None:
        self._drop(list(self._kept))
        self._done.clear()

    def _file(self, name: str, batch: int) -> Path:
        maker = self._maker[name]
        return Path(self._folder.name) / f"{maker}.{self._graph.made[maker].index(name)}.{batch}.npy"

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            del self._kept[name]
            first = self._file(name, 0)
            for file in first.parent.glob(first.name.removesuffix("0.npy") + "*.npy"):
                file.unlink()

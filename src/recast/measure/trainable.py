"""A graph as a network to train: written as PyTorch source, trained in a child, weights brought back by name."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recast import formats
from recast import passes as graph_passes
from recast._util.child import Limits, RemoteRunner
from recast.formats._format import Format
from recast.measure.coding import as_input

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.measure.data import Samples

_MODULE = "recast.formats.torch.training"
_numbers = count()  # of the networks that this process opens: those of other ranks have the same
SCALE = "/scale"  # added to the names of rounded weights


@dataclass(frozen=True)
class Grid:
    """The real numbers that a weight may have: integers times scales.

    Attributes:
        which: integers in the weight's shape: the place of each element's scale in ``scale``.
        scale: positive, one-dimensional.
        limits: lowest and highest integer.
    """

    which: np.ndarray
    scale: np.ndarray
    limits: tuple[int, int]


def passes() -> tuple[str, ...]:
    """What must have been run on a graph before ``opened``; the weights keep their names afterwards.

    Those of a format to work on: the trained graph goes on to any other.
    """
    return _format().passes


def prepared(model: ir.Model) -> ir.Model:
    """A copy after ``passes``."""
    copy = model.clone()
    graph_passes.run(copy, passes(), graph_passes.PassOptions())
    return copy


def _format() -> Format:
    return formats.by_name("torch")


class Trainable:
    """A network in its child. Made by ``opened``."""

    def __init__(self, model: ir.Model, runner: RemoteRunner, entries: tuple[Any, ...]) -> None:
        self._model, self._runner, self._entries = model, runner, entries
        self.inputs = runner.inputs

    def load(
        self,
        inputs: list[np.ndarray],
        teacher: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        maps: Sequence[np.ndarray] = (),
    ) -> None:
        """Samples (n, …) by input, the teacher's scores (n, …), class numbers (n,), maps for the further outputs."""
        feeds = {str(i): a for i, a in enumerate(inputs)} | {f"map {i}": a for i, a in enumerate(maps)}
        if teacher is not None:
            feeds["teacher"] = teacher.astype(np.float32)
        if labels is not None:
            feeds["labels"] = labels.astype(np.int64)
        self._runner.call("load", feeds)

    def round_weights(self, grids: Mapping[str, Grid], others: Sequence[str]) -> tuple[str, ...]:
        """Before training: round these weights from now on; train them, their scales and ``others``, nothing else.

        Returns:
            The weights that are rounded: those that are one tensor of the network.
        """
        entries = {e.origin: e for e in self._entries}
        taken = tuple(n for n in grids if sum(e.origin == n for e in self._entries) == 1)
        feeds: dict[str, np.ndarray] = {}
        for name in taken:
            entry, grid = entries[name], grids[name]
            which = entry.change(grid.which) if entry.change else grid.which
            feeds[entry.key] = np.ascontiguousarray(which).reshape(entry.shape).astype(np.int32)
            feeds[f"{entry.key}{SCALE}"] = grid.scale.astype(np.float32).reshape(-1)
        limits = {entries[n].key: list(grids[n].limits) for n in taken}
        only = [e.key for e in self._entries if e.origin in {*taken, *others}]
        self._runner.call("round_weights", feeds, grids=limits, only=only)
        return taken

    def feeds_of(self, samples: Samples) -> list[np.ndarray]:
        """Samples as the network's inputs: matched by name or else by position, in its axes and types."""
        by_name = {s.name for s in self.inputs} == set(samples.feeds)
        arrays = [samples.feeds[s.name] for s in self.inputs] if by_name else list(samples.feeds.values())
        return [as_input(a, s, {}) for a, s in zip(arrays, self.inputs, strict=True)]

    def rows(self, wanted: int) -> int:
        """Samples of one run: ``wanted``, or what the network fixes."""
        fixed = self.inputs[0].shape[0]
        return fixed if isinstance(fixed, int) else wanted

    def gradients(self, start: int, stop: int, seed: int) -> Mapping[str, np.ndarray]:
        """Gradients of the loss of these samples by the graph's own names; see ``Session.gradients``."""
        _, found = self._runner.call("gradients", start=start, stop=stop, seed=seed)
        return self._named(found)

    def call(self, method: str, **arguments: Any) -> Any:
        """``begin``, ``shuffle``, ``advance``, ``validate`` …; see ``formats.torch.training.Session``."""
        return self._runner.call(method, **arguments)[0]

    def device(self) -> str:
        """Where it computes: ``cpu``, ``cuda:0`` …"""
        return str(self.call("where"))

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What ``restore`` goes on from; see ``Session.state``."""
        told, arrays = self._runner.call("state")
        return told, dict(arrays)

    def restore(self, told: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """After ``begin``: go on from a ``state``."""
        self._runner.call("restore", arrays, told=told)

    def weights(self) -> Mapping[str, np.ndarray]:
        """Trained arrays by the graph's own names, in its own order of entries; ``NAME/scale`` of rounded weights."""
        _, state = self._runner.call("weights")
        sizes = {f"{e.origin}{SCALE}": state[f"{e.key}{SCALE}"] for e in self._entries if f"{e.key}{SCALE}" in state}
        return self._named(state) | sizes

    def _named(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays of the network by the graph's own names, in the graph's own axes."""
        found: dict[str, np.ndarray] = {}
        for entry in self._entries:
            value = self._model.graph.initializers.get(entry.origin)
            if entry.key not in state or value is None or value.const_value is None:
                continue
            old = value.const_value.numpy()
            if old.dtype.kind != "f":
                continue
            array = found.setdefault(entry.origin, old.copy())
            if entry.change is None:
                array[...] = state[entry.key].reshape(array.shape)
            else:
                place = entry.change(np.arange(old.size).reshape(old.shape))
                array.reshape(-1)[place.reshape(-1)] = state[entry.key].reshape(-1)
        return found


@contextmanager
def opened(model: ir.Model) -> Iterator[Trainable]:
    """The graph (after ``passes``) as a network to train, on a GPU if PyTorch sees one.

    Raises:
        UnsupportedOp: PyTorch cannot express it.
        MissingDependency: PyTorch is not installed.
    """
    from recast.formats.torch.gradients import wanted
    from recast.formats.torch.write import write_trainable

    with tempfile.TemporaryDirectory(prefix="recast-") as folder:
        script, entries = write_trainable(model, Path(folder) / "network.py")
        options = wanted(script) | {"training": next(_numbers)}
        with RemoteRunner(_MODULE, script, options, Limits(gpus=True)) as runner:
            yield Trainable(model, runner, entries)

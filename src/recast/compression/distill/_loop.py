"""The training loop: epochs until the held-out loss stops falling, in requests shorter than a child's time limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from recast._util import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recast.compression.distill._checkpoint import Checkpoint

BATCH = (8, 64)  # least and most samples of a step
PATIENCE = 8  # epochs without a better one
_REQUEST_S = 20.0  # about so long is one request


class Network(Protocol):
    """What is trained; ``measure.trainable.Trainable``."""

    def call(self, method: str, **arguments: Any) -> Any:
        """One request."""
        ...

    def weights(self) -> Mapping[str, np.ndarray]:
        """A copy of its numbers."""
        ...

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Everything that the next epoch depends on."""
        ...

    def restore(self, told: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from a state."""
        ...


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        epochs: at most.
        rate: of AdamW, falling to 0 along a cosine over all epochs.
        seed: of the order of the samples.
        patience: so many epochs without a better one end the training.
        batch: samples of a step; 0: about a sixteenth of an epoch, 8 to 64.
        last: the last epoch's weights instead of the best one's.
    """

    epochs: int
    rate: float
    seed: int = 0
    patience: int = PATIENCE
    batch: int = 0
    last: bool = False


@dataclass
class _Progress:
    """Where a training stands after some epochs. ``least``: the best held-out loss, ``since`` so many epochs."""

    least: float
    best: dict[str, np.ndarray]
    history: list[list[float]]
    since: int = 0

    def save(self, network: Network, file: Checkpoint) -> None:
        state, arrays = network.state()
        told = {"state": state, "least": self.least, "history": self.history, "since": self.since}
        file.save(
            told, {**{f"state:{n}": a for n, a in arrays.items()}, **{f"best:{n}": a for n, a in self.best.items()}}
        )

    def resume(self, network: Network, file: Checkpoint) -> None:
        found = file.load()
        if found is None:
            return
        told, arrays = found
        parts: dict[str, dict[str, np.ndarray]] = {"state": {}, "best": {}}
        for name, array in arrays.items():
            part, _, rest = name.partition(":")
            parts[part][rest] = array
        network.restore(told["state"], parts["state"])
        self.least, self.history, self.since = told["least"], told["history"], told["since"]
        self.best = parts["best"]


def train(
    network: Network,
    sizes: tuple[int, int, int],
    loss: Mapping[str, Any],
    schedule: Schedule,
    file: Checkpoint | None = None,
) -> tuple[list[list[float]], dict[str, np.ndarray]]:
    """The losses (training, held out) by epoch, and the best epoch's weights (the untrained ones count, too).

    Args:
        network: with its samples loaded.
        sizes: rows to train on, of all samples (the others are held out), views of one sample among them.
        loss: see ``formats.torch.training``.
        schedule: how long and how fast.
        file: saved after every epoch; if it is there, the training goes on from it.
    """
    rows, count, views = sizes
    epoch = max(1, rows // views)
    batch = min(epoch, schedule.batch or int(np.clip(epoch // 16, *BATCH)))
    steps = schedule.epochs * max(1, epoch // batch)
    network.call("begin", rate=schedule.rate, steps=steps, seed=schedule.seed)

    def part(at: int, size: int) -> list[float]:
        start, stop = rows + at * batch, min(count, rows + (at + size) * batch)
        found: list[float] = network.call("validate", start=start, stop=stop, batch=batch, loss=loss)
        return found

    def held_out() -> float:
        return _mean(_stretched(part, -(-(count - rows) // batch)))

    now = _Progress(held_out(), dict(network.weights()), [])
    if file is not None:
        now.resume(network, file)
    while len(now.history) < schedule.epochs and now.since < schedule.patience:
        progress.emit("distilling", len(now.history), schedule.epochs)
        todo = network.call("shuffle", rows=rows, batch=batch, most=epoch)
        mean = _mean(_stretched(lambda _, size: network.call("advance", count=size, loss=loss), todo))
        held = held_out()
        now.history.append([round(mean, 6), round(held, 6)])
        now.since += 1
        if held < now.least or schedule.last:
            now.least, now.best, now.since = held, dict(network.weights()), 0
        if file is not None:
            now.save(network, file)
    return now.history, now.best


def _stretched(work: Callable[[int, int], Sequence[float]], total: int) -> list[float]:
    """``work(at, size)`` for all of 0 … total, in pieces of about ``_REQUEST_S``; the losses, however it was cut."""
    found: list[float] = []
    at, size = 0, 1
    while at < total:
        size = min(size, total - at)
        start = time.monotonic()
        found += work(at, size)
        at += size
        size = max(1, min(4 * size, int(size * _REQUEST_S / max(time.monotonic() - start, 1e-3))))
    return found


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / max(1, len(values))

"""Structured pruning with training against Torch-Pruning: fewer multiply-accumulates, equal budget, same samples.

All arms start from the same CIFAR ResNet, are cut to the same number of multiply-accumulates and are then trained with
the same samples in the same order, as many steps, the same optimiser (AdamW, cosine) and seed; the epoch with the least
held-out loss counts. ``recast``: one recipe, ``Prune(budget) >> Distill(original)``. ``peer``: Torch-Pruning's
GroupNormPruner, trained with plain labels, and with the same distillation loss. The samples are training images, the
accuracy is that of test images (both JPEG). ``--model resnet20 --epochs 4 --seeds 2 --images 1000`` choose.
``--keep FOLDER`` keeps what each arm of each seed got right, so that a run that was cut off goes on from there;
``--only recast`` (or ``peer``) with it runs some arms for a later call that prints the table.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cifar_resnet
import labelled
import numpy as np
import torch
from _bench import MODELS, ROOT, save, table
from bench_prune import FILES, FOLDER
from peers import group_norm_pruned

import recast
from recast._util.child import TensorSpec
from recast.compressing import Settings
from recast.compression.distill import _loop
from recast.compression.distill._lesson import lesson
from recast.compression.distill.logits import Logits
from recast.compression.gate import Limits
from recast.formats.torch.training import Session
from recast.measure import cost, intervals
from recast.measure.data import Samples
from recast.measure.subject import Subject
from recast.recipe import Reading, Writing

RATE = 1e-3
SMALLER = 0.59  # of the parameters: the file shall be smaller by 40 % with the rest of the graph in it


class Peer(Session):
    """A PyTorch network in the very loop that trains ours."""

    def __init__(self, model: Any) -> None:
        self.torch, self.model = torch, model
        self.inputs = [TensorSpec("x", "float32", ("batch", 3, 32, 32))]
        self.start({})

    def call(self, method: str, **arguments: Any) -> Any:
        """As ``Trainable`` calls it."""
        return getattr(self, method)({}, **arguments)[0]

    def weights(self, feeds: Any = None) -> Any:
        """A copy of all of the network's numbers."""
        return {n: v.clone() for n, v in self.model.state_dict().items()}


@dataclass(frozen=True)
class Arena:
    """What all arms share."""

    which: str
    ratio: float
    epochs: int
    original: Path
    calibration: Path
    test: Path
    task: labelled.Task

    def ours(self, seed: int, folder: Path) -> tuple[list[Any], np.ndarray]:
        """Facts of the delivered file, and which test images it gets right."""
        target = folder / f"ours{seed}.onnx"
        prune = recast.Prune(budget=f"macs<{1 / self.ratio:.6f}, parameters<{SMALLER}", options=OURS)
        steps = prune >> recast.Distill(self.original, options={"epochs": self.epochs, "rate": RATE})
        limits = Limits(allow_worse=True)
        anew = Writing(force=True)  # what a run that was cut off left
        settings = Settings(data=self.test, calibration=self.calibration, limits=limits, seed=seed, writing=anew)
        result = recast.compress(self.original, target, steps, settings)
        assert result.comparison is not None
        macs = cost.of(recast.load(self.original)).macs / cost.of(recast.load(target)).macs
        before, after = result.comparison.size_bytes
        return [macs, 1 - after / before], right(target, self.task)

    def lite(self, source: Path, folder: Path) -> tuple[float, float]:
        """The delivered file in LiteRT: share of the original's file that is saved, accuracy of every fifth image."""
        paths = [folder / f"{p.stem}.tflite" for p in (self.original, source)]
        for one, path in zip((self.original, source), paths, strict=True):
            recast.convert(one, path)
        few = labelled.Task(self.task.inputs[::5], self.task.labels[::5], self.task.score, self.task.samples)
        return 1 - paths[1].stat().st_size / paths[0].stat().st_size, float(right(paths[1], few).mean())

    def peer(self, seed: int, hard: float) -> tuple[list[Any], np.ndarray]:
        """The same for Torch-Pruning; ``hard`` 1: plain labels."""
        network = state_of(self.which)
        example = torch.zeros(1, 3, 32, 32)
        before = macs_of(network, example), sum(p.numel() for p in network.parameters())
        network = group_norm_pruned(network, example, self.ratio)
        facts = [before[0] / macs_of(network, example), 1 - sum(p.numel() for p in network.parameters()) / before[1]]
        with np.load(self.calibration) as held:
            samples = Samples({"x": held["x"]}, held["y"])
        told = lesson(self.original, samples, seed, Logits().augment)  # as ``Logits.plan``
        assert told.labels is not None
        session = Peer(network)
        session.load({"0": told.samples.feeds["x"], "teacher": told.answers, "labels": told.labels})
        how = {"kind": "kd", "temperature": Logits().temperature, "hard": hard}
        _, best = _loop.train(
            session, (told.rows, told.samples.count, told.views), how, _loop.Schedule(self.epochs, RATE, seed)
        )
        network.load_state_dict(best)
        network.cpu().eval()  # it may have been trained on a GPU
        with torch.no_grad():
            parts = [network(torch.from_numpy(x)) for x in np.array_split(self.task.inputs, 20)]
        return facts, torch.cat(parts).argmax(dim=1).numpy() == self.task.labels


OURS: dict[str, Any] = {"criterion": "l1", "scope": "global", "samples": 2048}  # chosen on other images


def right(path: Path, task: labelled.Task) -> np.ndarray:
    """Which test images a file gets right in its own runtime."""
    subject = Subject(path.name, path)
    with subject.running() as runner:
        answers = subject.predict(runner, {runner.inputs[0].name: task.inputs})[0]
    found: np.ndarray = answers.argmax(axis=1) == task.labels
    return found


def state_of(which: str) -> Any:
    """The trained network in PyTorch."""
    network = getattr(cifar_resnet, which)()
    state = torch.load(FOLDER / FILES[which], weights_only=True, map_location="cpu")["state_dict"]
    network.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
    return network.eval()


def macs_of(network: Any, example: Any) -> float:
    """As Torch-Pruning counts them."""
    import torch_pruning as tp

    return float(tp.utils.count_ops_and_params(network, example)[0])


def main() -> None:
    """A row per arm and seed, and the paired differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--model", default="resnet56", choices=FILES)
    add("--ratio", type=float, default=2.1)
    add("--epochs", type=int, default=4)
    add("--seeds", type=int, default=2)
    add("--images", type=int, default=1000)
    add("--samples", type=int, default=3556, help="nine tenths are trained on, in batches of 64")
    add("--keep", type=Path, help="a folder")
    add("--only", default="", help="the beginning of an arm's name")
    given = parser.parse_args()
    torch.set_num_threads(1)
    factory = f"{ROOT / 'tests' / 'formats' / 'torch' / 'nets.py'}:{given.model}"
    with tempfile.TemporaryDirectory(prefix="recast-bench-") as name:
        folder = Path(name)
        original = folder / "original.onnx"
        recast.convert(
            factory, original, recast.Recipe(Reading({"x": ("batch", 3, 32, 32)}, FOLDER / FILES[given.model]))
        )
        x, y = labelled.cifar_training(MODELS, given.samples)
        task = labelled.cifar_jpeg(MODELS, given.images)
        np.savez(folder / "calibration.npz", x=x, y=y)
        np.savez(folder / "test.npz", x=task.inputs, y=task.labels)
        arena = Arena(
            given.model, given.ratio, given.epochs, original, folder / "calibration.npz", folder / "test.npz", task
        )
        if given.keep is not None:
            given.keep.mkdir(parents=True, exist_ok=True)
        run(arena, given, given.keep or folder)


def run(arena: Arena, given: Any, folder: Path) -> None:
    """All arms of all seeds."""
    arms = {
        "recast": lambda seed: arena.ours(seed, folder),
        "peer, same distillation": lambda seed: arena.peer(seed, Logits().hard),
        "peer, plain labels": lambda seed: arena.peer(seed, 1.0),
    }
    rows: list[list[Any]] = [["original", "", 1.0, 0.0, float(right(arena.original, arena.task).mean())]]
    correct: dict[str, list[np.ndarray]] = {name: [] for name in arms}
    for seed in range(given.seeds):
        for name, arm in arms.items():
            if not name.startswith(given.only):
                continue
            settings = f"{given.model}-{given.ratio}-{given.epochs}-{given.samples}-{given.images}"
            kept = folder / f"{settings}-{name.replace(' ', '')}{seed}.npz"
            if not kept.exists():
                facts, found = arm(seed)
                np.savez(kept, facts=np.array(facts), found=found)
            with np.load(kept) as held:
                facts, found = held["facts"].tolist(), held["found"]
            correct[name].append(found)
            rows.append([name, seed, *facts, float(found.mean())])
            print(rows[-1], flush=True)
    if given.only:
        return
    steps = given.epochs * (int(given.samples * 0.9) // 64)
    heads = ["arm", "seed", "× fewer MACs", "smaller by", "accuracy"]
    table(f"{given.model}: {steps} steps of 64 for each arm, {given.images} test images", heads, rows)
    rng, against = np.random.default_rng(0), []
    for name in list(arms)[1:]:
        found = intervals.paired_difference(np.concatenate(correct[name]), np.concatenate(correct["recast"]), rng)
        against.append([name, found.value, found.low, found.high])
    table("recast minus peer, paired over seeds and images, 95 %", ["peer", "difference", "low", "high"], against)
    saved, accuracy = arena.lite(folder / "ours0.onnx", folder)
    print(f"LiteRT: file smaller by {saved:.1%}, accuracy {accuracy:.1%} of every fifth image")
    save(
        f"structured_{given.model}",
        {"columns": heads, "rows": rows, "differences": against, "steps": steps, "options": OURS, "parameters": SMALLER,
         "samples": {"training": given.samples, "test": given.images}, "litert": [saved, accuracy]},
    )  # fmt: skip


if __name__ == "__main__":
    main()

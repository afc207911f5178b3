"""Quantising real models: accuracy, agreement, bytes and latency beside the float original, and beside the peers.

``--only resnet8-int8,…`` runs some rows. The data lie beside the models; JPEG images serve paired comparison only.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _bench import MODELS, ROOT, save, table
from labelled import CIFAR_CLASSES, CIFAR_MEAN, CIFAR_STD, keywords, machine

from recast.compressing import Compression, Settings, compress
from recast.compression.compare import compare
from recast.compression.gate import Comparison, parse_budget
from recast.compression.recipe import Quantize
from recast.measure.data import Samples
from recast.pipeline import convert
from recast.recipe import Checking, Reading, Recipe, Writing

TEST, TRAIN = "cifar10_jpeg_test5000.tar.gz", "cifar10_jpeg_train50000.tar.gz"
CALIBRATION = 2000
COMPARED = 5000
PEER = """
import sys, numpy as np, tensorflow as tf
from peers import load_keras
model, data = load_keras(sys.argv[1]), np.load(sys.argv[2])["x"].astype(np.float32)
converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([x[None]] for x in data[:512])
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
open(sys.argv[3], "wb").write(converter.convert())
"""


@dataclass(frozen=True)
class Row:
    """One line of the table: what is compressed how, and the goal in words."""

    name: str
    source: Callable[[Path], Path]
    data: Callable[[Path], tuple[Path, Path | None]]
    suffix: str
    step: Quantize
    goal: str
    budget: str = ""
    peer: bool = False


def images(folder: Path, archive: str, most: int, normal: bool) -> Path:
    """CIFAR images as ``.npz``; ``normal``: NCHW, scaled as PyTorch's models want, else NHWC, 0–255."""
    from PIL import Image

    path = folder / f"{archive.split('.')[0]}-{'n' if normal else 'r'}.npz"
    if path.exists():
        return path
    found: dict[str, np.ndarray] = {}
    with tarfile.open(MODELS / "resnet20-56-cifar10-pytorch" / archive) as held:
        members = {m.name: m for m in held if m.name.endswith(".jpg")}
        names = sorted(members)
        names = names[:: max(1, len(names) // most)][:most]
        for member in sorted((members[n] for n in names), key=lambda m: m.offset):  # in one pass
            file = held.extractfile(member)
            assert file is not None
            found[member.name] = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"), np.float32)
    pictures = [found[n] for n in names]
    labels = [CIFAR_CLASSES.index(n.split("/")[-2]) for n in names]
    x = np.stack(pictures)
    if normal:
        x = np.ascontiguousarray(((x / 255 - CIFAR_MEAN) / CIFAR_STD).transpose(0, 3, 1, 2))
    order = np.random.default_rng(0).permutation(len(x))
    np.savez(path, x=x[order].astype(np.float32), y=np.array(labels)[order])
    return path


def cifar(normal: bool) -> Callable[[Path], tuple[Path, Path | None]]:
    """5,000 test images to compare on, 2,000 training images to calibrate with."""
    return lambda folder: (images(folder, TEST, COMPARED, normal), images(folder, TRAIN, CALIBRATION, normal))


def kws(folder: Path) -> tuple[Path, Path | None]:
    """500 keyword windows; half to calibrate with, half to compare on."""
    task = keywords(MODELS)
    np.savez(folder / "kws.npz", x=task.inputs.reshape(-1, 49, 10, 1), y=task.labels)
    return folder / "kws.npz", None


def toycar(folder: Path) -> tuple[Path, Path | None]:
    """62 clips of 196 windows; half of the clips to calibrate with, half to compare on."""
    task = machine(MODELS)
    order = np.random.default_rng(0).permutation(len(task.labels))
    windows = task.inputs.reshape(len(order), -1, 640)[order].reshape(-1, 640)
    np.savez(folder / "toycar.npz", x=windows, y=task.labels[order])
    return folder / "toycar.npz", None


def file(name: str) -> Callable[[Path], Path]:
    """A model as it lies there."""
    return lambda folder: MODELS / name


def resnet(depth: int) -> Callable[[Path], Path]:
    """A PyTorch checkpoint as ONNX."""

    def made(folder: Path) -> Path:
        path = folder / f"resnet{depth}.onnx"
        weights = next((MODELS / "resnet20-56-cifar10-pytorch").glob(f"resnet{depth}-*.th"))
        if not path.exists():
            reading = Reading({"x": (1, 3, 32, 32)}, weights)
            recipe = Recipe(reading, Writing(batch="dynamic"), Checking(verify=False))
            convert(f"cifar_resnet:resnet{depth}", path, recipe)
        return path

    return made


R8 = file("ic-resnet8-cifar10/pretrainedResnet.h5")
ROWS = [
    Row("resnet8-int8", R8, cifar(False), ".tflite", Quantize("int8"), "≥ 97 % agreement, ≤ 98,496 B", peer=True),
    Row("resnet8-int8-onnx", R8, cifar(False), ".onnx", Quantize("int8"), "faster than float"),
    Row("resnet8-int4", R8, cifar(False), ".tflite", Quantize("int4"), "≤ 52,712 B, −3 points", "slower<9"),
    Row("resnet20-int4", resnet(20), cifar(True), ".onnx", Quantize("int4"), "−1 point"),
    Row("resnet20-int3", resnet(20), cifar(True), ".onnx", Quantize("int3"), "−3 points", "drop<3%"),
    Row("resnet56-int4", resnet(56), cifar(True), ".onnx", Quantize("int4"), "−1 point"),
    Row("resnet56-int3", resnet(56), cifar(True), ".onnx", Quantize("int3"), "−3 points", "drop<3%"),
    Row("kws-int8", file("kws-dscnn/kws_ref_model"), kws, ".tflite", Quantize("int8"), "≥ 90.2 %, ≤ 43 KB", "slower<2"),
    Row("toycar-int8", file("ad-autoencoder/ad01.h5"), toycar, ".tflite", Quantize("int8"), "AUC −0.01"),
]  # fmt: skip


def measured(name: str, found: Comparison, outcome: str, reasons: tuple[str, ...], goal: str) -> dict[str, Any]:
    """One result as data."""
    return {"row": name, "outcome": outcome, "reasons": list(reasons), "goal": goal, **found.as_dict()}


def peer(row: Row, folder: Path, data: tuple[Path, Path | None], original: Path) -> Comparison:
    """TensorFlow's converter on the same calibration images, compared with the same float file on the same samples."""
    made = folder / "peer.tflite"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "benchmarks"), *sys.path])}
    arguments = [sys.executable, "-c", PEER, str(row.source(folder)), str(data[1]), str(made)]
    subprocess.run(arguments, check=True, env=environment, capture_output=True)
    held = np.load(data[0])
    return compare(((original,), (made,)), Samples({"x": held["x"]}, held["y"]))


def limited(data: tuple[Path, Path | None], folder: Path, most: int) -> tuple[Path, Path | None]:
    """The same with at most so many samples to compare on."""
    held = np.load(data[0])
    if data[1] is None or len(held["x"]) <= most:
        return data
    path = folder / f"{data[0].stem}-{most}.npz"
    np.savez(path, x=held["x"][:most], y=held["y"][:most])
    return path, data[1]


def run(row: Row, folder: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Compress, and measure."""
    data, source = limited(row.data(folder), folder, given.compared), row.source(folder)
    settings = Settings(data=data[0], calibration=data[1], limits=parse_budget(row.budget))
    step = Quantize(row.step.kind, {**row.step.options, "samples": given.samples})
    result: Compression = compress(source, folder / f"{row.name}{row.suffix}", step, settings)
    assert result.comparison is not None, result.reasons
    count = len(np.load(data[0])["x"]) // (2 if data[1] is None else 1)
    found = [measured(row.name, result.comparison, result.outcome, result.reasons, row.goal)]
    found[0] |= {"compared": count, "samples": given.samples}
    if row.peer:
        original = folder / "float.tflite"
        convert(source, original, Recipe(checking=Checking(verify=False)))
        found.append(measured(f"{row.name}: TensorFlow's converter", peer(row, folder, data, original), "peer", (), ""))
    return found


def line(found: dict[str, Any]) -> list[Any]:
    """A row of the table."""
    old, new = found["accuracy"] or (float("nan"),) * 2
    interval = found["interval"] or (float("nan"),) * 2
    agree = "" if found["disagree"] is None else f"{1 - found['disagree']:.2%}"
    return [
        found["row"], found["outcome"], f"{found['size_bytes'][1]:,}", f"{old:.2%}", f"{new:.2%}",
        f"{100 * interval[0]:+.2f} … {100 * interval[1]:+.2f}", agree, f"{found['slowdown']:.2f}", found["goal"],
    ]  # fmt: skip


def main() -> None:
    """Run the rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="names of rows, separated by commas")
    parser.add_argument("--samples", type=int, default=512, help="to calibrate with")
    parser.add_argument("--compared", type=int, default=COMPARED, help="most images to compare on")
    given = parser.parse_args()
    wanted = [n for n in given.only.split(",") if n]
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in ROWS:
            if not wanted or row.name in wanted:
                found += run(row, Path(folder), given)
                print(*line(found[-1]), *found[-1]["reasons"], sep="  ", flush=True)
    columns = [
        "row",
        "outcome",
        "bytes",
        "float",
        "result",
        "95 % of the difference (points)",
        "agree",
        "time ×",
        "goal",
    ]
    table("Quantised beside the float original (same format, runtime and samples)", columns, [line(f) for f in found])
    save("compress_quantize", found)


if __name__ == "__main__":
    main()

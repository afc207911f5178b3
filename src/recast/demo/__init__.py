"""The demo: a small trained network, shipped in the package, goes to every format and is proved.

``digits.keras`` and ``digits.npz`` were made by ``scripts/train_demo.py`` with stock Keras.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recast._util import progress
from recast.errors import MissingDependency, RecastError

if TYPE_CHECKING:
    import numpy as np

    from recast.formats._format import Format

HERE = Path(__file__).parent
MODEL = HERE / "digits.keras"
DATA = HERE / "digits.npz"
TARGETS = ("digits.onnx", "digits.tflite", "digits.py", "digits.mindir")


@dataclass(frozen=True)
class Row:
    """One line of the demo's table. ``accuracy`` is on the held-out images, in the format's own runtime."""

    format: str
    file: str
    size_bytes: int
    accuracy: float | None
    max_error: float | None
    convert_s: float | None
    verdict: str
    note: str = ""


def run_demo(folder: Path | None = None) -> list[Row]:
    """Convert the network to every format; files go to ``folder`` (kept) or a temporary one."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        return _rows(folder)
    with tempfile.TemporaryDirectory(prefix="recast-demo-") as temporary:
        return _rows(Path(temporary))


def _rows(folder: Path) -> list[Row]:
    rows = [_source_row(folder)]
    for number, name in enumerate(TARGETS):
        progress.emit(f"converting to {name}", number, len(TARGETS))
        rows.append(_target_row(folder / name))
    return rows


def _source_row(folder: Path) -> Row:
    """The source in its own runtime, or (no Keras installed) the graph in ONNX Runtime."""
    from recast import formats, pipeline
    from recast.recipe import Writing

    keras = formats.by_name("keras")
    try:
        accuracy, note = _accuracy(keras, MODEL), ""
    except MissingDependency:
        graph = folder / "source-graph.onnx"
        pipeline.save(pipeline.load(MODEL), graph, Writing(force=True))
        accuracy = _accuracy(formats.by_name("onnx"), graph)
        graph.unlink()
        note = "Keras is not installed: the accuracy is that of the file's graph in ONNX Runtime"
    return Row("keras", MODEL.name, MODEL.stat().st_size, accuracy, None, None, "source", note)


def _target_row(path: Path) -> Row:
    from recast import formats, pipeline
    from recast.recipe import Checking, Recipe, Writing

    format_ = formats.for_writing(path)
    try:
        result = pipeline.convert(MODEL, path, Recipe(writing=Writing(force=True), checking=Checking(data=DATA)))
    except RecastError as error:
        return Row(format_.name, path.name, 0, None, None, None, "refused", error.what)
    size = sum(f.stat().st_size for f in result.files if not f.name.endswith(pipeline.CERTIFICATE))
    convert_s = sum(s for step, s in result.seconds.items() if step != "verify")
    accuracy, max_error, note = None, None, ""
    if result.verdict == "not judged":
        note = f"written; to verify it: pip install 'recast-nn[{format_.judge[1]}]'"
    elif result.report is not None and result.report.worst is not None:
        accuracy, max_error = _accuracy(format_, result.files[0]), result.report.worst.max_abs
    return Row(format_.name, path.name, size, accuracy, max_error, convert_s, result.verdict, note)


def _accuracy(format_: Format, path: Path) -> float:
    import numpy as np

    data = np.load(DATA)
    runner = format_.open(path)
    try:
        return _score(runner.run({runner.inputs[0].name: data["image"]}), data["labels"])
    finally:
        runner.close()


def _score(outputs: dict[str, np.ndarray], labels: np.ndarray) -> float:
    (scores,) = outputs.values()
    return float((scores.argmax(axis=-1) == labels).mean())

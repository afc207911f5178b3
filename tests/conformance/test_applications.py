"""Families of ``keras.applications`` with random weights: verified in the targets' runtimes, no Transpose left over.

``benchmarks/bench_applications.py`` does all architectures and all targets.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import recast
from recast.recipe import Checking, Recipe, Writing
from recast.verification.memory import Memory

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FAMILIES = ["MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "DenseNet121"]
CELLS = [
    *((name, target) for name in FAMILIES for target in ("onnx", "tflite")),
    *(("MobileNetV2", target) for target in ("keras", "py", "pt2", "mindir")),
    ("MobileNet", "h5"),
    ("EfficientNetB0", "py"),
]
CELLS.sort(key=lambda cell: cell[0])  # one source after another


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with ``NAME.keras`` and ``NAME.h5``, made by stock Keras in a process of its own."""
    pytest.importorskip("keras")
    folder = tmp_path_factory.mktemp("applications")
    subprocess.run(
        [sys.executable, str(BENCHMARKS / "applications.py"), ",".join(FAMILIES), str(folder)],
        check=True,
        capture_output=True,
    )
    yield folder
    for file in folder.iterdir():
        file.unlink()


def transposes(path: Path) -> int:
    """Transposes in a written file."""
    if path.suffix == ".onnx":
        import onnx

        return sum(n.op_type == "Transpose" for n in onnx.load(path).graph.node)
    from recast.formats.tflite import read_file

    return sum(o.kind == "TRANSPOSE" for g in read_file.load(path).subgraphs for o in g.operators)


@pytest.mark.parametrize(("name", "target"), CELLS, ids=[f"{n}-{t}" for n, t in CELLS])
def test_verified(name: str, target: str, sources: Path, tmp_path: Path, memory: Callable[[str], Memory]) -> None:
    result = recast.convert(sources / f"{name}.keras", tmp_path / f"model.{target}", memory=memory(name))
    assert result.report is not None
    assert result.verdict == "verified", "\n".join(result.report.summary())
    assert not [n for n in result.report.notes if n.level == "warning"]  # the outputs depend on the inputs


@pytest.mark.parametrize("target", ["onnx", "tflite"])
@pytest.mark.parametrize("name", FAMILIES)
def test_no_transpose(name: str, target: str, sources: Path, tmp_path: Path) -> None:
    recipe = Recipe(writing=Writing(io_layout="auto"), checking=Checking(verify=False))
    result = recast.convert(sources / f"{name}.keras", tmp_path / f"model.{target}", recipe)
    assert transposes(result.files[0]) == 0


@pytest.mark.parametrize("name", FAMILIES)
def test_h5_is_the_same_graph(name: str, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from bench_applications import same_graph

    assert same_graph(sources / f"{name}.keras", sources / f"{name}.h5") == ""

"""Models side by side: the figures are those of the runtimes, whatever the formats; known scores are met."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import recast
from recast.cli.commands.evaluate import threads_of
from recast.errors import BadModel, BadRecipe
from recast.evaluating import Measuring
from recast.measure.data import Samples
from tests.cli.test_app import run
from tests.measure.nets import dense_net, written

QUICK = Measuring(threads=(1,), rounds=2)


@pytest.fixture
def pair(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, Path, Path]:
    """A linear classifier as ONNX, the same as TFLite with one class broken, and labelled data."""
    weights = rng.standard_normal((7, 3)).astype(np.float32)
    x = rng.standard_normal((90, 7)).astype(np.float32)
    np.savez(tmp_path / "val.npz", x=x, y=(x @ weights).argmax(axis=1))
    first = written(dense_net(weights, np.zeros(3, np.float32), True), tmp_path / "first.onnx")
    broken = np.array([0, 0, -1e6], np.float32)
    return first, written(dense_net(weights, broken, True), tmp_path / "second.tflite"), tmp_path / "val.npz"


def test_figures_of_a_known_pair(pair: tuple[Path, Path, Path]) -> None:
    first, second, data = pair
    report = recast.evaluate([first, second], data, QUICK)
    a, b = report.as_dict()["models"]
    labels = np.load(data)["y"]
    kept = float((labels != 2).mean())
    assert a["score"]["figure"]["value"] == 1
    assert b["score"]["figure"]["value"] == pytest.approx(kept)
    assert b["versus"]["agreement"]["value"] == pytest.approx(kept)
    assert b["versus"]["difference"]["value"] == pytest.approx(kept - 1)
    assert b["versus"]["difference"]["high"] < 0
    assert b["versus"]["mcnemar_p"] < 0.01
    assert b["versus"]["worst_class"] == [2, -1.0]
    assert np.array(b["confusion"]).sum(axis=0)[2] == 0
    assert a["size"]["file_bytes"] == first.stat().st_size
    assert (a["cost"]["macs"], a["parameters"]["total"]) == (21, 24)
    assert a["memory"]["peak_bytes"] > a["memory"]["runtime_bytes"] > 0
    assert a["latency"]["1"]["median_s"] > 0
    json.loads(report.json())


def test_without_data_only_agreement_is_told(pair: tuple[Path, Path, Path]) -> None:
    report = recast.evaluate(pair[:2], None, Measuring(threads=()))
    a, b = report.as_dict()["models"]
    assert a["score"] is None
    assert b["versus"]["difference"] is None
    assert b["versus"]["agreement"]["value"] < 1
    assert "generated inputs" in report.text()


def test_integers_of_the_original_are_decoded_for_the_others(tmp_path: Path) -> None:
    """Data stored as an int8 model's integers reach a float model as the real numbers that they stand for."""
    import onnx_ir as ir

    from recast.graph.build import Builder

    b = Builder("net")
    x = b.input("x", ir.DataType.INT8, ("batch", 3))
    y = b.op("DequantizeLinear", [x, b.weight("s", np.float32(0.25)), b.weight("z", np.int8(11))])
    b.output(b.op("Mul", [y, b.const(np.float32(2))]), "y")
    c = Builder("net")
    z = c.input("x", ir.DataType.FLOAT, ("batch", 3))
    c.output(c.op("Mul", [z, c.const(np.float32(2))]), "y")
    paths = [written(b.model(), tmp_path / "a.onnx"), written(c.model(), tmp_path / "b.onnx")]
    samples = Samples({"x": np.arange(-128, 127, dtype=np.int8).reshape(-1, 3)})
    found = recast.evaluate(paths, samples, Measuring(threads=())).as_dict()["models"][1]["versus"]
    assert found["largest"] == 0


def test_wrong_requests_are_refused(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="no model"):
        recast.evaluate([], None, QUICK)
    with pytest.raises(BadRecipe, match="twice"):
        recast.evaluate([pair[0], pair[0]], None, QUICK)
    with pytest.raises(BadModel, match="samples of shape"):
        recast.evaluate(pair[:1], Samples({"x": np.zeros((5, 8), np.float32)}), QUICK)
    assert threads_of("1,all") == (1, 0)
    for bad in ("0", "", "1,", "many"):
        with pytest.raises(BadRecipe):
            threads_of(bad)


def test_command_line(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    first, second, data = (str(p) for p in pair)
    page, saved = tmp_path / "r.html", tmp_path / "r.json"
    done = run(
        "evaluate", first, second, "--data", data, "--threads", "1", "--rounds", "2", "--html", str(page), "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["models"][0]["score"]["figure"]["value"] == 1
    assert "Pareto front" in page.read_text()
    done_again = run("evaluate", first, "--html", str(page))
    assert done_again.returncode == 5, "an existing page needs --force"
    saved.write_text(done.stdout)
    shown = run("report", str(saved))
    assert shown.returncode == 0, shown.stderr
    assert "Against the original" in shown.stdout
    assert run("report", data).returncode == 3


KNOWN = [
    ("ic-resnet8-cifar10", ["pretrainedResnet.tflite", "pretrainedResnet_quant.tflite"], [0.855, 0.85]),
    ("vww-mobilenet", ["vww_96_float.tflite", "vww_96_int8.tflite"], [0.86, 0.858]),
    ("kws-dscnn", ["kws_ref_model_float32.tflite", "kws_ref_model.tflite"], [0.898, 0.898]),
    ("ad-autoencoder", ["ad01_fp32.tflite", "ad01_int8.tflite"], [0.933, 0.847]),
]


@pytest.mark.parametrize(("folder", "files", "scores"), KNOWN, ids=[k[0] for k in KNOWN])
def test_known_scores(folder: str, files: list[str], scores: list[float], shared_models: Path) -> None:
    """The figures that others measured with each model's own runtime (INDEX of the models)."""
    home = shared_models / folder
    held = dict(np.load(next(home.glob("*.npz"))))
    x, y = held.get("x", held.get("x_int8")), held["y"]
    if folder == "kws-dscnn":
        x = (x.astype(np.float32) - 83) * np.float32(0.58470291)
    elif folder == "vww-mobilenet":
        x = x.astype(np.float32) / 255
    elif folder == "ad-autoencoder":  # windows of 5 frames; 196 of them belong to one label
        x = np.stack([x[:, i : i + 196] for i in range(5)], axis=2).reshape(-1, 640)
    report = recast.evaluate([home / f for f in files], Samples({"x": x}, y), Measuring(threads=()))
    found = [m["score"]["figure"]["value"] for m in report.as_dict()["models"]]
    assert found == pytest.approx(scores, abs=0.0051)


def test_robustness_and_attribution_are_in_the_report(pair: tuple[Path, Path, Path]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("captum")
    also = frozenset({"robustness", "interpret"})
    report = recast.evaluate(pair[:2], pair[2], Measuring(threads=(), also=also))
    data, text = report.as_dict(), report.text()
    assert not data["findings"]
    assert [m["fidelity"] for m in data["robustness"]["models"]] == [1, 1]
    assert data["robustness"]["models"][1]["clean"]["score"] == data["models"][1]["score"]["figure"]["value"]
    assert data["attribution"]["models"][1]["methods"]["saliency"]["spearman"]["value"] == pytest.approx(1)
    assert "ε 8/255" in text
    assert "integrated gradients" in text
    page = report.html()
    assert "accuracy under PGD" in page
    with pytest.raises(BadRecipe, match="cannot measure"):
        Measuring(also=frozenset({"beauty"}))


def test_what_cannot_be_measured_is_told(tmp_path: Path, rng: np.random.Generator) -> None:
    """Outputs that are no classes: the rest of the report stands, and a finding says what is missing."""
    from recast.graph.build import Builder
    from tests.measure.nets import FLOAT

    b = Builder("net")
    b.output(b.op("Relu", [b.input("x", FLOAT, ("batch", 3, 5))]), "y")
    path = written(b.model(), tmp_path / "net.onnx")
    samples = Samples({"x": rng.standard_normal((4, 3, 5)).astype(np.float32)})
    report = recast.evaluate([path], samples, Measuring(threads=(), also=frozenset({"robustness"})))
    assert "robustness was not measured" in report.text()
    assert report.as_dict()["models"][0]["size"]["file_bytes"] == path.stat().st_size

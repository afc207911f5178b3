"""The frame: recipes, the gate, edits, and a whole compression."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import recast
from recast.compressing import Settings, compress
from recast.compression._method import Plan
from recast.compression.apply import apply
from recast.compression.edits import Cut, PackWeight, Piece, ReplaceNode, RoundValue, SetWeight
from recast.compression.gate import Comparison, Limits, parse_budget, reasons
from recast.compression.recipe import Distill, Prune, Quantize, from_toml
from recast.demo import MODEL
from recast.errors import BadRecipe
from recast.graph.build import Builder
from recast.verification.local import GraphRunner
from recast.verification.outcome import Note, Report, Wrong


def test_steps_compose_in_order() -> None:
    steps = Prune(0.5, structured=True) >> Distill("teacher.h5") >> Quantize("int8")
    assert [s.as_dict()["method"] for s in steps] == ["structured", "logits", "int8"]
    assert [s.family for s in steps] == ["prune", "distill", "quantize"]


def test_a_recipe_file_builds_the_same_steps(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('[[step]]\nprune = {amount = 0.5, structured = true}\n[[step]]\nquantize = "int8"\n')
    assert from_toml(file) == Prune(0.5, structured=True) >> Quantize("int8")


@pytest.mark.parametrize("text", ["a = 1", "[[step]]\nshrink = 1", "[[step]]\nprune = {share = 1}", "step ="])
def test_a_wrong_recipe_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(BadRecipe):
        from_toml(tmp_path / "r.toml")


def test_unknown_methods_and_options_are_refused() -> None:
    with pytest.raises(BadRecipe, match="no method is called 'int77'"):
        Quantize("int77").method()
    with pytest.raises(BadRecipe, match="no option colour"):
        Quantize("float16", {"colour": 1}).method()


def test_budget_text() -> None:
    found = parse_budget("size<100KB, drop<0.5%, latency < 2 ms, disagree<3%")
    assert (found.size_bytes, found.drop, found.latency_s, found.disagree) == (100_000, 0.005, 0.002, 0.03)
    for bad in ("size<1%", "weight<3", "drop<2ms", "size"):
        with pytest.raises(BadRecipe):
            parse_budget(bad)


GOOD = Comparison((1000, 500), accuracy=(0.90, 0.89), disagree=0.02, error=0.05, latency_s=(1e-3, 0.9e-3), slowdown=0.9)


@pytest.mark.parametrize(
    ("change", "limits", "word"),
    [
        ({"size_bytes": (1000, 1000)}, Limits(), "not smaller"),
        ({}, Limits(size_bytes=400), "asked for at most 400"),
        ({"accuracy": (0.9, 0.87)}, Limits(), "accuracy"),
        ({"accuracy": (0.9, 0.87)}, Limits(drop=0.04), ""),
        ({"accuracy": None, "disagree": 0.2}, Limits(), "answers changed"),
        ({"accuracy": None, "disagree": None, "error": 0.3}, Limits(), "differ by"),
        ({"accuracy": None, "disagree": None, "error": float("nan")}, Limits(), "differ by"),
        ({"slowdown": 1.06}, Limits(), "slower"),
        ({"slowdown": 1.04}, Limits(), ""),
        ({}, Limits(latency_s=1e-4), "ms a run"),
        ({"slowdown": 1.2}, Limits(slower=1.5), ""),
        ({}, Limits(), ""),
    ],
)
def test_the_gate(change: dict[str, object], limits: Limits, word: str) -> None:
    told = reasons(Comparison(**{**vars(GOOD), **change}), limits, True)  # type: ignore[arg-type]
    assert bool(told) == bool(word)
    assert word in " ".join(told)


def _model(rng: np.random.Generator) -> ir.Model:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 7))
    w, c = (b.weight(n, rng.standard_normal(s).astype(np.float32)) for n, s in (("w", (7, 13)), ("c", (13,))))
    h = b.op("Relu", [b.op("Gemm", [x, w, c])])
    y = b.op("MatMul", [h, b.weight("v", rng.standard_normal((13, 3)).astype(np.float32))])
    b.output(y, "y")
    return b.model()


def _run(model: ir.Model, x: np.ndarray) -> np.ndarray:
    return GraphRunner(model, optimise=False).run({"x": x})["y"]


def test_edits_do_what_numpy_does(rng: np.random.Generator) -> None:
    model, x = _model(rng), rng.standard_normal((5, 7)).astype(np.float32)
    held = {n: v.const_value.numpy() for n, v in model.graph.initializers.items() if v.const_value is not None}
    before = _run(model, x)
    keep = np.array([0, 2, 3, 8, 11])
    plan = Plan("cut", tuple(Cut(n, a, keep) for n, a in (("w", 1), ("c", 0), ("v", 0))))
    cut = apply(model, plan)
    wanted = np.maximum(x @ held["w"][:, keep] + held["c"][keep], 0) @ held["v"][keep]
    np.testing.assert_allclose(_run(cut, x), wanted, rtol=1e-5, atol=1e-6)
    assert np.array_equal(_run(model, x), before)  # the model itself is not changed

    integers = np.clip(np.rint(held["w"] / 0.1), -127, 127).astype(np.int8)
    hidden = next(n for n in model.graph if n.op_type == "Relu").outputs[0].name or ""
    plan = Plan("q", (PackWeight("w", integers, np.full(13, 0.1, np.float32), axis=1), RoundValue(hidden, 0.05, -128)))
    made = apply(model, plan)
    h = np.maximum(x @ (integers * np.float32(0.1)) + held["c"], 0)
    h = (np.clip(np.rint(h / np.float32(0.05)), 0, 255) * np.float32(0.05)).astype(np.float32)
    np.testing.assert_allclose(_run(made, x), h @ held["v"], rtol=1e-4, atol=1e-4)

    rounded = apply(model, Plan("out", (RoundValue("y", 0.5, 3),)))
    assert [v.name for v in rounded.graph.outputs] == ["y"]
    assert np.array_equal(_run(rounded, x), np.clip(np.rint(before / 0.5), -131, 124) * 0.5)


def test_set_weight_and_replace_node(rng: np.random.Generator) -> None:
    model, x = _model(rng), rng.standard_normal((5, 7)).astype(np.float32)
    node = next(n for n in model.graph if n.op_type == "MatMul")
    hidden = node.inputs[0].name if node.inputs[0] is not None else ""
    left, right = (rng.standard_normal(s).astype(np.float32) for s in ((13, 2), (2, 3)))
    pieces = (Piece("MatMul", (hidden or "", "left"), "middle"), Piece("MatMul", ("middle", "right"), "end"))
    plan = Plan("svd", (ReplaceNode(node.name or "", pieces, {"left": left, "right": right}),))
    made = apply(model, plan)
    same = apply(model, Plan("set", (SetWeight("v", left @ right),)))
    np.testing.assert_allclose(_run(made, x), _run(same, x), rtol=1e-4, atol=1e-5)
    assert "v" not in made.graph.initializers


def test_compress_delivers_and_refuses(tmp_path: Path) -> None:
    good = compress(MODEL, tmp_path / "a.tflite", Quantize("float16"))
    assert good.outcome == "accepted", good.reasons
    assert [f.name for f in good.files] == ["a.tflite", "a.tflite.recast.json"]
    assert any("random inputs" in f.what for f in good.findings)
    told = json.loads(good.files[1].read_text())
    assert told["outcome"] == "accepted"
    assert told["comparison"]["size_bytes"][1] < told["comparison"]["size_bytes"][0]

    bad = compress(MODEL, tmp_path / "b.tflite", Quantize("float16"), Settings(limits=Limits(10, drop=0.1)))
    assert not bad.passed
    assert any("no labels" in f.what for f in bad.findings)
    assert not any("no labels" in f.what for f in good.findings)
    assert {f.name for f in tmp_path.glob("b*")} == {"b.tflite.unverified", "b.tflite.recast.json.unverified"}
    allowed = Settings(limits=Limits(size_bytes=10, allow_worse=True))
    assert compress(MODEL, tmp_path / "b.tflite", Quantize("float16"), allowed).outcome == "worse, as allowed"


def test_a_failed_proof_is_told_by_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by whatever note comes last."""
    failed = Report("a", "b", wrong=Wrong("values", "output 3 is off", "y"), notes=[Note("fewer inputs", "", "info")])
    monkeypatch.setattr("recast.compressing._Ending._verify", lambda *_: failed)
    result = compress(MODEL, tmp_path / "small.onnx", Quantize("float16"))
    assert not result.passed
    assert result.reasons == ("the file does not compute what the compressed graph says: output 3 is off",)


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    result = recast.compress(MODEL, tmp_path / "a.tflite", Quantize("float16"), Settings(dry_run=True))
    assert result.outcome == "planned"
    assert not list(tmp_path.iterdir())

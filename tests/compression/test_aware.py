"""Training with the roundings in place: the file holds what was trained, nearer to the teacher than rounding alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import recast
from recast import passes
from recast.compression._method import FUSED, Plan, Statistics
from recast.compression.apply import apply
from recast.compression.distill import _lesson
from recast.compression.edits import PackWeight, RoundValue
from recast.compression.quantize._aware import Aware
from recast.compression.quantize.int8 import Int8
from recast.compression.quantize.weights import Weights
from recast.compression.recipe import Quantize, Steps
from recast.demo import DATA, MODEL
from recast.errors import BadRecipe
from recast.measure.calibrate import Graph
from recast.measure.data import Samples
from recast.measure.subject import Subject

from .group_nets import Net
from .test_groups import outputs

pytest.importorskip("torch")
OPTIONS = {"epochs": 12, "rate": 4e-3}


def network(rng: np.random.Generator) -> ir.Model:
    """Convolutions (one in groups, one whose normalisation is folded) and a dense layer, which has blocks."""
    n = Net(rng, ("batch", 3, 11, 13))
    x = n.op("Relu", n.norm(n.conv(n.x, 12, bias=False)))
    x = n.op("Relu", n.op("Add", x, n.conv(n.op("Relu", n.conv(x, 12, group=3)), 12)))
    model = n.end(n.dense(n.op("Flatten", x, axis=1), 5))
    passes.run(model, FUSED, passes.PassOptions())
    return model


def given(model: ir.Model, samples: Samples, method: Any, seed: int = 3) -> Statistics:
    needs = method.needs(model)
    with Graph(model) as graph:
        return Statistics(graph.observe(samples, needs.values), samples, "tflite", seed, samples)


def apart(lesson: _lesson.Lesson, changed: ir.Model) -> float:
    """The loss without classes, of the held-out samples: squares in units of the teacher's variance."""
    held = outputs(changed, {"x": lesson.samples.feeds["x"][lesson.rows :]})[0]
    return float(np.square(lesson.answers[lesson.rows :] - held.astype(np.float64)).mean() / lesson.answers.var())


ROUGH: Any = {"rounding": "nearest"}  # so that there is much to gain


@pytest.mark.parametrize("method", [Weights(bits=3, block=7, **ROUGH), Int8(bits=3, **ROUGH)])
def test_the_graph_holds_what_was_trained(method: Any, rng: np.random.Generator) -> None:
    """Its loss on the held-out samples, in ONNX Runtime, is the one that training ended with, and below the start's."""
    import dataclasses

    model = network(rng)
    samples = Samples({"x": rng.standard_normal((80, 3, 11, 13)).astype(np.float32)})
    told = given(model, samples, method)
    rounded = method.plan(model, told)
    plan = dataclasses.replace(method, aware=OPTIONS).plan(model, told)
    lesson = _lesson.lesson(Subject("", None, made=model), samples, 3)  # type: ignore[arg-type]
    before, after = (apart(lesson, apply(model, p)) for p in (rounded, plan))
    told_after = min(row[1] for row in plan.notes["loss by epoch (training, held out)"])
    assert after == pytest.approx(told_after, rel=0.02)
    assert after < 0.9 * before
    integers = {e.weight: e for e in plan.edits if isinstance(e, PackWeight)}
    first = {e.weight: e for e in rounded.edits if isinstance(e, PackWeight)}
    assert integers.keys() == first.keys()
    assert any((integers[n].integers != first[n].integers).any() for n in first)
    assert any((integers[n].scale != first[n].scale).any() for n in first)
    ranges = [[e for e in p.edits if isinstance(e, RoundValue)] for p in (rounded, plan)]
    assert ranges[0] == ranges[1]


def test_what_gets_no_better_stays(rng: np.random.Generator) -> None:
    """A rate that only does damage: the integers are those of rounding alone."""
    model, method = network(rng), Weights(bits=4)
    samples = Samples({"x": rng.standard_normal((64, 3, 11, 13)).astype(np.float32)})
    told = given(model, samples, method)
    plans: list[Plan] = [Weights(bits=4, aware=a).plan(model, told) for a in (None, {"rate": 9.0, "epochs": 2})]
    packed = [{e.weight: e.integers for e in p.edits if isinstance(e, PackWeight)} for p in plans]
    for name, integers in packed[0].items():
        np.testing.assert_array_equal(packed[1][name], integers)


def test_by_the_command_line_to_a_file(tmp_path: Any) -> None:
    """The teacher is the original; the recipe, TOML and the flag are one."""
    from argparse import ArgumentParser

    from recast.cli.commands import compress
    from recast.compression.recipe import from_toml

    parser = ArgumentParser()
    compress.configure(parser)

    def said(*flags: str) -> Steps:
        return compress.steps_of(parser.parse_args(["a.h5", "b.tflite", *flags]))

    flags = said("--quantize", "int4", "--aware")
    both = said("--student", "width 0.5", "--distill-from", "t.onnx", "--quantize", "int8", "--aware")
    told = [s.as_dict() for s in both]
    assert [t["method"] for t in told] == ["structured", "logits", "int8"]
    assert told[1]["options"] == told[2]["options"]["aware"] == {"teacher": "t.onnx"}
    with pytest.raises(BadRecipe, match="aware"):
        said("--aware")
    (tmp_path / "r.toml").write_text('[[step]]\nquantize = {kind = "int4", options = {aware = {}}}\n')
    assert flags == from_toml(tmp_path / "r.toml")
    (tmp_path / "r.toml").write_text("[[step]]\nquantize = {kind = 'int3', options = {aware = {epochs = 3}}}\n")
    limits = recast.Limits(slower=99.0, allow_worse=True)
    settings = recast.Settings(data=DATA, limits=limits)
    found = recast.compress(MODEL, tmp_path / "small.tflite", from_toml(tmp_path / "r.toml"), settings)
    assert found.plans[0].method == "int3 weights (gptq, trained)"
    assert found.plans[0].notes["teacher"] == "the model before rounding"
    assert found.report is not None
    assert found.report.passed


def test_refusals(rng: np.random.Generator) -> None:
    for told in ({"size": 3}, {"loss": "best"}, "int8"):
        with pytest.raises(BadRecipe):
            Aware.of(told)  # type: ignore[arg-type]
    with pytest.raises(BadRecipe, match="aware"):
        Quantize("float16", {"aware": {}}).method()
    model = network(rng)
    samples = Samples({"x": np.zeros((64, 3, 11, 13), np.float32)})
    with pytest.raises(BadRecipe, match="teacher"):
        Weights(aware={"teacher": "nowhere.h5"}).plan(model, given(model, samples, Weights()))

"""Effort: large models get fewer feeds, never fewer than three kinds, and the same ones every time."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from recast._util.child import TensorSpec
from recast.verification import effort
from recast.verification.feeds import Feed, FeedPlan, make_feeds, sizes_to_try


def dense(channels: int, shape: tuple[int | str, ...]) -> ir.Model:
    weight = np.zeros((channels, int(shape[-1])), np.float32)
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))
    w = ir.Value(name="w", shape=ir.Shape(weight.shape), const_value=ir.tensor(weight))
    node = ir.node("Gemm", [x, w], {"transB": 1})
    node.outputs[0].shape = ir.Shape([*shape[:-1], channels])
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=[w], opset_imports={"": 25})
    return ir.Model(graph, ir_version=10)


def chosen(model: ir.Model, shape: tuple[int | str, ...], **data: np.ndarray) -> tuple[list[Feed], list[Feed]]:
    plan = FeedPlan([TensorSpec("x", "float32", shape)], data=data)
    feeds = make_feeds(plan)
    return effort.affordable(feeds, model, sizes_to_try(plan)[0]), feeds


def test_operations_dense() -> None:
    assert effort.operations(dense(11, ("batch", 7)), {"batch": 3}) == 3 * 11 * (7 + 20)


def test_small_models_get_all() -> None:
    kept, feeds = chosen(dense(11, ("batch", 7)), ("batch", 7))
    assert kept == feeds


@pytest.mark.parametrize("budget", [0.0, 1e3, 5e3])
def test_large_models_get_three_kinds_and_another_batch(budget: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort, "BUDGET", budget)
    kept, feeds = chosen(dense(11, ("batch", 7)), ("batch", 7))
    assert 3 <= len(kept) < len(feeds)
    assert {f.arrays["x"].shape[0] for f in kept} >= {1, 3}
    assert [f.name for f in kept] == [f.name for f in chosen(dense(11, ("batch", 7)), ("batch", 7))[0]]
    assert all(np.ptp(f.arrays["x"]) > 0 for f in kept)


def test_large_models_keep_a_real_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort, "BUDGET", 0.0)
    kept, _ = chosen(dense(11, (1, 7)), (1, 7), x=np.ones((5, 7), np.float32))
    assert [f.name.split(" (")[0] for f in kept] == ["normal", "pixels", "photo", "sample 0"]


def test_all_sizes_of_inner_axes_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effort, "BUDGET", 0.0)
    shape = ("batch", "time", 7)
    kept, _ = chosen(dense(11, shape), shape)
    assert {f.arrays["x"].shape[1] for f in kept} == {7, 1, 13}

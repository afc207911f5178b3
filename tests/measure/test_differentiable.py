"""Gradients, attacks and attribution maps of networks whose closed forms are known; needs PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from recast._util.child import pool
from recast.errors import BadModel
from recast.graph.build import Builder
from recast.measure import attribution, differentiable, robustness
from recast.measure.accuracy import Answers, Task
from recast.measure.differentiable import Network
from recast.measure.subject import Subject
from tests.measure.nets import FLOAT, dense_net, written

pytest.importorskip("torch")
CLASSES = Task("classes", np.zeros(1, np.int64))
NEAR = {"limits": [-100.0, 100.0], "steps": 1, "seed": 0}


@pytest.fixture(autouse=True, scope="module")
def one_child() -> Iterator[None]:
    """PyTorch starts once for all of these tests."""
    with pool():
        yield


@contextmanager
def network(model: ir.Model, task: Task = CLASSES) -> Iterator[Network]:
    with differentiable.opened(Subject("net", Path("net.onnx"), made=model), task) as found:
        yield found


@pytest.fixture
def linear(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weights (7, 3), bias, samples (11, 7), labels."""
    return (
        rng.standard_normal((7, 3)).astype(np.float32), rng.standard_normal(3).astype(np.float32),
        rng.standard_normal((11, 7)).astype(np.float32), rng.integers(0, 3, 11),
    )  # fmt: skip


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("batch", ["batch", 4])
def test_gradient_of_a_linear_classifier(softmax: bool, batch: int | str, linear: tuple) -> None:
    """∇ₓ of the cross entropy is W (p − e_y); a last softmax is left out, not applied twice."""
    w, c, x, y = linear
    z = x.astype(np.float64) @ w + c
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    expected = (p - np.eye(3)[y]) @ w.T.astype(np.float64)
    with network(dense_net(w, c, softmax, batch)) as net:
        np.testing.assert_allclose(net.outputs(x), z, atol=1e-5)
        np.testing.assert_allclose(net.gradient(x, y), expected, atol=1e-5)


def test_fgsm_and_pgd_of_a_linear_classifier(linear: tuple) -> None:
    """FGSM: one closed form. PGD with two classes ends in the corner that is worst, which is known."""
    w, c, x, y = linear
    with network(dense_net(w, c)) as net:
        found = net.attack(x, y, 0.25, NEAR)
        expected = x + 0.25 * np.sign(net.gradient(x, y))
        np.testing.assert_allclose(found, expected, atol=1e-6)
        held = net.attack(x.clip(-0.5, 0.75), y, 0.25, NEAR | {"limits": [-0.5, 0.75]})
        assert held.min() >= -0.5
        assert held.max() <= 0.75
    two, y = w[:, :2], y % 2
    with network(dense_net(two, c[:2])) as net:
        found = net.attack(x, y, 0.25, NEAR | {"steps": 10, "seed": 3})
    away = np.where(y[:, None] == 0, two[:, 1] - two[:, 0], two[:, 0] - two[:, 1])
    np.testing.assert_allclose(found, x + 0.25 * np.sign(away), atol=1e-6)


def test_random_starts_are_seeded_and_inside_the_ball(linear: tuple) -> None:
    w, c, x, y = linear
    with network(dense_net(w, c)) as net:
        runs = [net.attack(x, y, 0.25, NEAR | {"steps": 2, "seed": s}) for s in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()
    assert np.abs(runs[2] - x).max() <= 0.25 + 1e-6


def test_one_score_a_sample(linear: tuple) -> None:
    """Binary: ∇ₓ of the loss is (σ(z) − y) w, whether the sigmoid is the last operator or hidden."""
    w, c, x, y = linear
    y = y % 2
    z = x.astype(np.float64) @ w[:, 0] + c[0]
    expected = (1 / (1 + np.exp(-z)) - y)[:, None] * w[:, 0]
    for hidden in (False, True):
        b = Builder("net")
        given = b.input("x", FLOAT, ("batch", 7))
        s = b.op("Sigmoid", [b.op("Gemm", [given, b.weight("w", w[:, :1]), b.weight("c", c[:1])])])
        b.output(b.op("Mul", [s, b.const(np.float32(1))]) if hidden else s, "y")
        with network(b.model(), Task("binary", y, 0.5)) as net:
            np.testing.assert_allclose(net.gradient(x, y), expected, atol=1e-4)


def test_reconstruction_is_attacked_both_ways(rng: np.random.Generator) -> None:
    """f(x) = 2x: the error is mean x², its gradient 2x/k; for an odd sample the attack makes it smaller."""
    x = rng.standard_normal((4, 5)).astype(np.float32)
    y = np.array([0, 1, 0, 1])
    with network(dense_net(2 * np.eye(5, dtype=np.float32), np.zeros(5, np.float32)), Task("reconstruction", y)) as net:
        expected = np.where(y == 0, 1, -1)[:, None] * 2 * x / 5
        np.testing.assert_allclose(net.gradient(x, y), expected, atol=1e-6)


def test_attribution_of_a_linear_classifier(linear: tuple) -> None:
    """Saliency is the class's weights; integrated gradients from zero are x·w, and complete."""
    pytest.importorskip("captum")
    w, c, x, y = linear
    with network(dense_net(w, c, True)) as net:
        _, saliency = net.attribute(x, y, "saliency")
        deltas, integrated = net.attribute(x, y, "integrated_gradients")
    np.testing.assert_allclose(saliency, w.T[y], atol=1e-6)
    np.testing.assert_allclose(integrated, x * w.T[y], atol=1e-5)
    assert len(deltas) == 11
    assert np.abs(deltas).max() < 1e-4


def quantised_net(w: np.ndarray) -> ir.Model:
    """int8 in, a rounded hidden value that saturates at ±(127·0.02), a linear layer, int8 out."""
    b = Builder("net")
    x = b.input("x", ir.DataType.INT8, ("batch", 7))
    s, z = b.weight("s", np.float32(0.05)), b.weight("z", np.int8(3))
    h, n = b.weight("h", np.float32(0.02)), b.weight("n", np.int8(0))
    y = b.op("Mul", [b.op("DequantizeLinear", [x, s, z]), b.const(np.float32(0.9))])
    y = b.op("DequantizeLinear", [b.op("QuantizeLinear", [y, h, n]), h, n])
    t, u = b.weight("t", np.float32(0.1)), b.weight("u", np.int8(-5))
    b.output(b.op("QuantizeLinear", [b.op("MatMul", [y, b.weight("w", w)]), t, u]), "y")
    return b.model()


def test_quantised_networks_round_forward_and_pass_gradients_back(tmp_path: Path, rng: np.random.Generator) -> None:
    w = rng.standard_normal((7, 3)).astype(np.float32)
    x = (rng.standard_normal((13, 7)) * 2).astype(np.float32)
    y = rng.integers(0, 3, 13)
    model = quantised_net(w)
    subject = Subject("net", written(model, tmp_path / "net.onnx"))
    with subject.running() as runner:
        (expected,) = subject.predict(runner, {"x": x})
    with network(model) as net:
        found = net.outputs(x)
        np.testing.assert_allclose(found, expected, atol=1e-5)  # the same integers
        gradient = net.gradient(x, y)
    inside = np.abs(x * 0.9) < 2.4
    beyond = np.abs(x * 0.9) > 2.7
    assert inside.sum() > 20
    assert beyond.sum() > 5
    z = expected.astype(np.float64)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    plain = 0.9 * (p - np.eye(3)[y]) @ w.T.astype(np.float64)
    np.testing.assert_allclose(gradient[inside], plain[inside], atol=1e-4)
    assert (gradient[beyond] == 0).all(), "a saturated value passes nothing"


def test_axes_of_the_network_are_hidden(rng: np.random.Generator) -> None:
    """Samples channels-last, input channels-first: gradients come back as the samples are."""
    b = Builder("net")
    given = b.input("x", FLOAT, ("batch", 3, 11, 13))
    w = rng.standard_normal((3 * 11 * 13, 5)).astype(np.float32)
    b.output(b.op("Gemm", [b.op("Reshape", [given, b.const([0, -1])]), b.weight("w", w)]), "y")
    x = rng.standard_normal((2, 11, 13, 3)).astype(np.float32)
    pytest.importorskip("captum")
    with network(b.model()) as net:
        _, found = net.attribute(x, np.array([1, 4]), "saliency")
    expected = w[:, [1, 4]].T.reshape(2, 3, 11, 13).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_has_no_gradient_is_refused() -> None:
    b = Builder("net")
    ids = b.input("ids", ir.DataType.INT64, ("batch", 5))
    b.output(b.op("Gather", [b.weight("w", np.zeros((9, 3), np.float32)), ids]), "y")
    with pytest.raises(BadModel, match="no real numbers"), network(b.model()):
        pass


def test_robustness_of_linear_classifiers(tmp_path: Path, rng: np.random.Generator) -> None:
    """Every score is known: a sample survives FGSM exactly if its margin does at the corner of the ball."""
    w, other = (rng.standard_normal((7, 2)).astype(np.float32) for _ in range(2))
    x = rng.uniform(-1, 1, (150, 7)).astype(np.float32)
    y = (x @ w).argmax(axis=1)
    zero = np.zeros(2, np.float32)
    subjects = [
        Subject(n, written(dense_net(m, zero, True), tmp_path / f"{n}.onnx"))
        for n, m in (("first", w), ("second", other))
    ]
    task = Task("classes", y)
    found = robustness.of(subjects, {"x": x}, [Answers(task, x @ m, x) for m in (w, other)])
    low, high = float(x.min()), float(x.max())
    assert found["range"] == [low, high]
    assert not found["notes"]

    def left(made_on: np.ndarray, judged: np.ndarray, radius: float) -> float:
        sign = np.sign(np.where(y[:, None] == 0, made_on[:, 1] - made_on[:, 0], made_on[:, 0] - made_on[:, 1]))
        moved = (x + radius * (high - low) * sign).clip(low, high)
        return float(((moved @ judged).argmax(axis=1) == y).mean())

    first, second = found["models"]
    for row, judged in ((first, w), (second, other)):
        assert row["fidelity"] == 1
        assert row["clean"]["score"] == pytest.approx(((x @ judged).argmax(axis=1) == y).mean())
        for item in row["attacks"]:
            made_on = w if item["made_on"] == "the original" else judged
            assert item["score"] == pytest.approx(left(made_on, judged, item["radius"]), abs=1 / 150 + 1e-9), item
    assert {a["made_on"] for a in first["attacks"]} == {"itself"}
    assert {a["made_on"] for a in second["attacks"]} == {"itself", "the original"}
    assert {c["corruption"] for c in first["corruptions"]} == {"noise", "brightness", "contrast"}


@pytest.mark.parametrize("hidden", [False, True])
def test_fidelity_of_one_score_a_sample(hidden: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    """The threshold is that of what the graph gives: 0 before the sigmoid, 0.5 after it."""
    w, x = rng.standard_normal((7, 1)).astype(np.float32), rng.standard_normal((40, 7)).astype(np.float32)
    b = Builder("net")
    s = b.op("Sigmoid", [b.op("MatMul", [b.input("x", FLOAT, ("batch", 7)), b.weight("w", w)])])
    b.output(b.op("Mul", [s, b.const(np.float32(1))]) if hidden else s, "y")
    subject = Subject("net", written(b.model(), tmp_path / "net.onnx"))
    p = 1 / (1 + np.exp(-x @ w))
    task = Task("binary", (p[:, 0] > 0.5).astype(np.int64), 0.5)
    found = robustness.of([subject], {"x": x}, [Answers(task, p, x)])
    assert found["models"][0]["fidelity"] == 1
    assert found["models"][0]["clean"]["score"] == 1


def test_attribution_of_two_models(tmp_path: Path, rng: np.random.Generator) -> None:
    pytest.importorskip("captum")
    w = rng.standard_normal((7, 3)).astype(np.float32)
    x = rng.standard_normal((20, 7)).astype(np.float32)
    turned = w[[1, 2, 3, 4, 5, 6, 0]]
    subjects = [
        Subject(n, written(dense_net(m, np.zeros(3, np.float32)), tmp_path / f"{n}.onnx"))
        for n, m in (("first", w), ("same", 3 * w), ("turned", turned))
    ]
    task = Task("classes", (x @ w).argmax(axis=1))
    found = attribution.of(subjects, {"x": x}, [Answers(task, x @ m, x) for m in (w, 3 * w, turned)])
    same, other = (m["methods"]["saliency"] for m in found["models"][1:])
    assert same["spearman"]["value"] == pytest.approx(1)
    assert same["overlap"]["value"] == 1
    chosen = (x @ w).argmax(axis=1)
    from scipy.stats import spearmanr

    expected = np.mean([spearmanr(np.abs(w[:, c]), np.abs(turned[:, c])).statistic for c in chosen])
    assert other["spearman"]["value"] == pytest.approx(expected, abs=1e-9)
    assert found["pictures"] == []

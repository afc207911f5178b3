"""Conditions, loops and lists, in the forms of TensorFlow 1 and 2, against TensorFlow itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recast.errors import UnsupportedOp
from recast.formats.savedmodel.read import read

from . import tf_judge
from .savedmodel_catalogue import _array, _tf
from .tf_judge import Case

pytest.importorskip("tensorflow")
_W, _U = _array(3, 5), _array(5, 5)


def _accumulate(tf: Any, x: Any) -> Any:
    """A plain recurrent net over time: TensorArrays in and out."""
    time = tf.transpose(x, [1, 0, 2])
    steps = tf.shape(time)[0]
    inputs = tf.TensorArray(tf.float32, steps).unstack(time)
    outputs = tf.TensorArray(tf.float32, steps)

    def body(i: Any, state: Any, made: Any) -> Any:
        state = tf.tanh(inputs.read(i) @ _W + state @ _U)
        return i + 1, state, made.write(i, state)

    zeros = tf.zeros([tf.shape(x)[0], 5])
    _, last, made = tf.while_loop(lambda i, *_: i < steps, body, (tf.constant(0), zeros, outputs))
    return [last, tf.transpose(made.stack(), [1, 0, 2])]


def _double(tf: Any, x: Any) -> Any:
    """Turns depend on the data."""
    return tf.while_loop(lambda y: tf.reduce_max(tf.abs(y)) < 50.0, lambda y: (y * 2.0 + 0.5,), (x,))[0]


def _grow(tf: Any, x: Any) -> Any:
    """A value that becomes longer every turn."""
    shape = tf.TensorShape([None, 3])
    return tf.while_loop(
        lambda i, y: i < 4, lambda i, y: (i + 1, tf.concat([y, y[:1] * 2.0], 0)), (0, x), (tf.TensorShape([]), shape)
    )[1]


def _branches(tf: Any, x: Any) -> Any:
    return tf.cond(tf.reduce_sum(x) > 0.0, lambda: tf.nn.relu(x @ _W), lambda: x @ _W - 1.0)


def _switch(tf: Any, x: Any) -> Any:
    return tf.switch_case(tf.cast(x[0, 0] > 0, tf.int32), [lambda: x * 2.0, lambda: x - 1.0])


def _nested(tf: Any, x: Any) -> Any:
    """A condition in a loop."""

    def body(i: Any, y: Any) -> Any:
        return i + 1, tf.cond(tf.reduce_sum(y) > 1.0, lambda: y * 0.5, lambda: y + 0.75)

    return tf.while_loop(lambda i, _: i < 5, body, (0, x))[1]


CASES = {
    "recurrent-dynamic": Case(_tf(_accumulate), [(None, None, 3)]),
    "recurrent-static": Case(_tf(_accumulate), [(2, 7, 3)]),
    "recurrent-batch": Case(_tf(_accumulate), [(None, 7, 3)]),
    "data-dependent": Case(_tf(_double), [(2, 3)]),
    "growing": Case(_tf(_grow), [(2, 3)]),
    "condition": Case(_tf(_branches), [(None, 3)]),
    "nested": Case(_tf(_nested), [(2, 3)]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", [1, 2])
def test_control(name: str, seed: int, tmp_path: Path) -> None:
    case = CASES[name]
    made = tf_judge.save(case, tmp_path / "model")
    assert tf_judge.operators(made) & {"While", "StatelessWhile", "If", "StatelessIf"}
    model = tf_judge.check(tmp_path / "model", made, case.feeds(np.random.default_rng(seed)))
    assert {n.op_type for n in model.graph.all_nodes()} & {"Loop", "If"}


@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_old_condition(value: float, tmp_path: Path, rng: np.random.Generator) -> None:
    """TensorFlow 1: Switch and Merge, one inside the other."""
    import tensorflow as tf

    v1 = tf.compat.v1
    v1.disable_control_flow_v2()
    try:
        graph = v1.Graph()
        with graph.as_default():
            x = v1.placeholder(tf.float32, (3, 5), "x")
            inner = lambda: v1.cond(x[0, 1] > 0.0, lambda: x * 3.0, lambda: x / 2.0)  # noqa: E731
            v1.identity(v1.cond(x[0, 0] > 0.0, inner, lambda: x - 1.0), "y")
    finally:
        v1.enable_control_flow_v2()
    feed = rng.uniform(-1, 1, (3, 5)).astype(np.float32)
    feed[0, 0], feed[0, 1] = value, -value
    _compare_graph(graph, tmp_path / "graph.pb", feed)


def test_known_condition(tmp_path: Path, rng: np.random.Generator) -> None:
    """``is_training`` with a default: one side dies."""
    import tensorflow as tf

    v1 = tf.compat.v1
    v1.disable_control_flow_v2()
    try:
        graph = v1.Graph()
        with graph.as_default():
            x = v1.placeholder(tf.float32, (3, 5), "x")
            training = v1.placeholder_with_default(False, (), "training")
            v1.identity(v1.cond(training, lambda: v1.random_uniform((3, 5)), lambda: x - 1.0), "y")
    finally:
        v1.enable_control_flow_v2()
    assert "Where" not in _compare_graph(graph, tmp_path / "graph.pb", rng.uniform(-1, 1, (3, 5)).astype(np.float32))


def _compare_graph(graph: Any, path: Path, feed: np.ndarray) -> set[str]:
    """Read a TensorFlow 1 graph with input ``x`` and output ``y``, and compare."""
    import onnx_ir as ir
    import onnxruntime
    import tensorflow as tf

    path.write_bytes(graph.as_graph_def().SerializeToString())
    with tf.compat.v1.Session(graph=graph) as session:
        truth = session.run("y:0", {"x:0": feed})
    model = read(path)
    found = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString()).run(None, {"x": feed})[0]
    np.testing.assert_allclose(found, truth, rtol=2e-5, atol=2e-5)
    return {n.op_type for n in model.graph.all_nodes()}


def test_all_refusals_are_told_together(tmp_path: Path) -> None:
    def build(tf: Any, x: Any) -> Any:
        return tf.math.lgamma(x) + tf.math.digamma(x) + tf.cond(x[0] > 0, lambda: tf.math.ndtri(x), lambda: x)

    tf_judge.save(Case(_tf(build), [(5,)]), tmp_path / "model")
    with pytest.raises(UnsupportedOp) as caught:
        read(tmp_path / "model")
    for name in ("Lgamma", "Digamma", "Ndtri"):
        assert name in caught.value.what


def test_changing_variables_are_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.count = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec((3,), name="x")])
    def step(x: Any) -> Any:
        module.count.assign_add(1.0)
        return {"y": x + module.count}

    tf.saved_model.save(module, str(tmp_path / "model"), signatures=step)
    with pytest.raises(UnsupportedOp, match="changes variables"):
        read(tmp_path / "model")

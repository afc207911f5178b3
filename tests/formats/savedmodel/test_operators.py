"""Every operator of the catalogue as a SavedModel and as a frozen graph, against TensorFlow itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from . import tf_judge
from .savedmodel_catalogue import CASES
from .savedmodel_images import IMAGES

pytest.importorskip("tensorflow")
ALL = CASES | IMAGES
LOOSE = {"Erfc-unary": 1e-4, "Tan-unary": 2e-3, "Pow-division": 1e-4}


@pytest.mark.parametrize("name", ALL)
def test_frozen(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    case = ALL[name]
    made = tf_judge.freeze(case, tmp_path / "graph.pb")
    assert set(case.ops) <= tf_judge.operators(made)
    tf_judge.check(tmp_path / "graph.pb", made, case.feeds(rng), LOOSE.get(name, 2e-5))


CHANNELS_FIRST = {
    "Conv2D": (lambda tf, x, w, f: tf.nn.conv2d(x, w, _order([1, 2, 3, 1], f), "SAME", f), (3, 2, 3, 5)),
    "BiasAdd": (lambda tf, x, w, f: tf.nn.bias_add(x, w, f), (3,)),
    "DepthwiseConv2dNative": (
        lambda tf, x, w, f: tf.nn.depthwise_conv2d(x, w, _order([1, 2, 2, 1], f), "VALID", f),
        (3, 2, 3, 2),
    ),
    "MaxPool": (lambda tf, x, w, f: tf.nn.max_pool2d(x, [3, 2], [2, 3], "SAME", f), (1,)),
    "AvgPool": (lambda tf, x, w, f: tf.nn.avg_pool2d(x, [3, 2], [2, 3], "VALID", f), (1,)),
    "DepthToSpace": (
        lambda tf, x, w, f: tf.nn.depth_to_space(tf.concat([x] * 4, -1 if f[-1] == "C" else 1), 2, f),
        (1,),
    ),
    "Conv2DBackpropInput": (
        lambda tf, x, w, f: tf.nn.conv2d_transpose(x, w, _order([2, 21, 38, 5], f), _order([1, 2, 3, 1], f), "SAME", f),
        (3, 2, 5, 3),
    ),
}


def _order(values: list[int], layout: str) -> list[int]:
    return values if layout == "NHWC" else [values[0], values[3], *values[1:3]]


@pytest.mark.parametrize("name", CHANNELS_FIRST)
def test_channels_first(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """TensorFlow has no channels-first kernels on a CPU: the result must equal its channels-last one."""
    import onnx_ir as ir
    import onnxruntime
    import tensorflow as tf

    from recast.formats.savedmodel.read import read

    build, shape = CHANNELS_FIRST[name]
    weight = rng.uniform(-1, 1, shape).astype(np.float32)
    x = rng.uniform(-1, 1, (2, 11, 13, 3)).astype(np.float32)
    case = tf_judge.Case(lambda v: build(tf, v, weight, "NCHW"), [(2, 3, 11, 13)])
    tf_judge.freeze(case, tmp_path / "graph.pb")
    model = read(tmp_path / "graph.pb")
    assert "Transpose" not in {n.op_type for n in model.graph}
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    found = session.run(None, {session.get_inputs()[0].name: x.transpose(0, 3, 1, 2)})[0]
    truth = build(tf, x, weight, "NHWC").numpy()
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1), truth, rtol=2e-5, atol=2e-5)


def test_coverage() -> None:
    """How many operators have a reader."""
    from recast.formats.savedmodel.reading import handlers

    assert len(handlers()) >= 150


def test_saved_model_form(tmp_path: Path, rng: np.random.Generator) -> None:
    """The same function as a SavedModel: everything goes through two calls."""
    case = CASES["MatMul-constant"]
    tf_judge.check(tmp_path / "m", tf_judge.save(case, tmp_path / "m"), case.feeds(rng))

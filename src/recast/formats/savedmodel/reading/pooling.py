"""Pooling and normalisation over windows or channels."""

from __future__ import annotations

from typing import Any

from recast.errors import UnsupportedOp
from recast.formats.savedmodel.call import Call
from recast.formats.savedmodel.reading import reads
from recast.formats.savedmodel.reading.convolution import spatial, window
from recast.formats.savedmodel.scope import Held


def _pool(c: Call, operator: str, dims: int) -> None:
    c.rank(0, dims + 2)
    kernel, strides = spatial(c, "ksize", dims), spatial(c, "strides", dims)
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    attributes |= window(c, strides, kernel, [1] * dims)
    if operator == "AveragePool":
        attributes["count_include_pad"] = 0
    c.out(c.image(operator, [c.x(0)], attributes))


@reads("MaxPool", "MaxPool3D", "AvgPool", "AvgPool3D")
def pool(c: Call) -> None:
    """Padded places never count."""
    _pool(c, "MaxPool" if c.kind.startswith("Max") else "AveragePool", 3 if c.kind.endswith("3D") else 2)


@reads("MaxPoolWithArgmax")
def max_pool_with_argmax(c: Call) -> None:
    """Only the values; TensorFlow's places count the channels in."""
    if any(c.scope.reading.program.reference(c.scope.body, t)[1] for t in _uses(c)):
        raise UnsupportedOp("the places of the maxima")
    _pool(c, "MaxPool", 2)


def _uses(c: Call) -> list[str]:
    texts = [u.data[place] for u, place in c.scope.body.users.get(c.node.name, []) if u.name]
    return texts + [t for t in c.scope.body.results if t.split(":", 1)[0] == c.node.name]


@reads("LRN")
def lrn(c: Call) -> None:
    """TensorFlow's alpha multiplies the sum, ONNX's the sum divided by the window's size."""
    c.rank(0, 4)
    size = 2 * int(c.attr("depth_radius", 5)) + 1
    if not 0 < size < 1 << 20:
        raise c.bad(f"depth_radius {c.attr('depth_radius')}")
    attributes = {
        "size": size,
        "alpha": float(c.attr("alpha", 1.0)) * size,
        "beta": float(c.attr("beta", 0.5)),
        "bias": float(c.attr("bias", 1.0)),
    }
    c.out(c.image("LRN", [c.x(0)], attributes))


@reads("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def fused_batch_norm(c: Call) -> None:
    """Inputs: x, scale, offset, mean, variance."""
    if c.flag("is_training", True):
        raise UnsupportedOp("batch normalisation in training mode")
    for number in range(1, 5):
        c.rank(number, 1)
    roles = ("gamma", "beta", "moving_mean", "moving_variance")
    vectors = [c.weight(i + 1, r) if isinstance(c.thing(i + 1), Held) else c.x(i + 1) for i, r in enumerate(roles)]
    value = c.image("BatchNormalization", [c.x(0), *vectors], {"epsilon": float(c.attr("epsilon", 1e-4))})
    c.outs([value, *vectors[2:]])


@reads("_FusedBatchNormEx")
def fused_batch_norm_ex(c: Call) -> None:
    """With an activation, as TensorFlow's optimiser writes it."""
    fused_batch_norm(c)
    if str(c.attr("activation_mode", "Identity")) != "Identity" or c.count > 5:
        raise UnsupportedOp("fused with other operators")

"""Normalisation, written out in means and scalings where there is no builtin."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import IMAGE, Refused, writes
from recast.formats.tflite.writing.emitter import Emitter, dims_of
from recast.formats.tflite.writing.weights import float_constant
from recast.graph import view


def mean(w: Emitter, source: int, axes: list[int]) -> int:
    """MEAN that keeps its axes."""
    shape = [1 if i in axes else d for i, d in enumerate(w.shape(source))]
    return w.then("MEAN", [source, w.ints(axes)], shape, ("ReducerOptions", {"keep_dims": True}))


def standardised(w: Emitter, source: int, axes: list[int], epsilon: float) -> int:
    """``(x - mean) / sqrt(variance + epsilon)`` over some axes."""
    centre = mean(w, source, axes)
    moved = w.then("SUB", [source, centre], None, ("SubOptions", {}))
    spread = mean(w, w.then("MUL", [moved, moved], None, ("MulOptions", {})), axes)
    return _times_root(w, moved, spread, epsilon)


def _times_root(w: Emitter, moved: int, spread: int, epsilon: float) -> int:
    safe = w.then("ADD", [spread, w.number(epsilon)], None, ("AddOptions", {}))
    return w.then("MUL", [moved, w.then("RSQRT", [safe])], None, ("MulOptions", {}))


def _affine(w: Emitter, source: int, factors: tuple[ir.Value | None, ir.Value | None], out: int) -> None:
    """``x * scale + bias`` into ``out``; either may be missing."""
    scale, bias = factors
    if scale is None and bias is None:
        w.reshape(source, w.shape(out), out)
        return
    if scale is not None:
        target = out if bias is None else w.temp(out)
        w.op("MUL", [source, w.take(scale)], [target], ("MulOptions", {}))
        source = target
    if bias is not None:
        w.op("ADD", [source, w.take(bias)], [out], ("AddOptions", {}))


def _value(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if len(node.inputs) > index else None


def _given(w: Emitter, node: ir.Node, index: int) -> np.ndarray | None:
    value = _value(node, index)
    array = float_constant(w, value)
    if value is not None and array is None:
        raise Refused("a scale or bias that is computed at run time")
    return array


@writes("BatchNormalization", domain=IMAGE)
def batch_normalization(w: Emitter, node: ir.Node) -> None:
    """One MUL and one ADD over the channels, where no convolution could take it in."""
    scale, bias, centre, variance = (_given(w, node, i) for i in range(1, 5))
    if scale is None or bias is None or centre is None or variance is None or view.attr(node, "training_mode", 0):
        raise Refused("batch normalisation in training mode")
    exact = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + float(view.attr(node, "epsilon", 1e-5)))
    rest = bias - centre * exact
    site = w.site(node, [node.inputs[0]], fuse=True, fits=lambda _, __: False)
    scaled = w.then("MUL", [site.inputs[0], w.constant(exact.astype(np.float32))], None, ("MulOptions", {}))
    w.op("ADD", [scaled, w.constant(rest.astype(np.float32))], [site.output], ("AddOptions", site.options))


@writes("BatchNormalization")
def batch_normalization_flat(w: Emitter, node: ir.Node) -> None:
    """Over (N, C), where channels-first and channels-last are the same."""
    x = node.inputs[0]
    assert x is not None
    if len(dims_of(x)) != 2:
        raise Refused("it is channels-first; run the 'layout' pass first")
    batch_normalization(w, node)


@writes("InstanceNormalization", domain=IMAGE)
def instance_normalization(w: Emitter, node: ir.Node) -> None:
    """Over the spatial axes of (N, *spatial, C)."""
    x = node.inputs[0]
    assert x is not None
    axes = list(range(1, len(dims_of(x)) - 1))
    done = standardised(w, w.take(x), axes, float(view.attr(node, "epsilon", 1e-5)))
    _affine(w, done, (_value(node, 1), _value(node, 2)), w.put(node.outputs[0]))


@writes("GroupNormalization", domain=IMAGE)
def group_normalization(w: Emitter, node: ir.Node) -> None:
    """Over the pixels and the channels of each group."""
    x = node.inputs[0]
    assert x is not None
    n, *spatial, c = dims_of(x)
    groups = int(view.attr(node, "num_groups"))
    pixels = -1 if any(d < 0 for d in spatial) else int(np.prod(spatial))
    if n < 0 and pixels < 0:
        raise Refused("the batch and the image size are only known at run time")
    split = w.reshape(w.take(x), (n, pixels, groups, c // groups))
    done = standardised(w, split, [1, 3], float(view.attr(node, "epsilon", 1e-5)))
    _affine(w, w.reshape(done, dims_of(x)), (_value(node, 1), _value(node, 2)), w.put(node.outputs[0]))


def _trailing(node: ir.Node) -> list[int]:
    x = node.inputs[0]
    assert x is not None
    rank = len(dims_of(x))
    if not _one_result(node):
        raise Refused("the mean or deviation of a normalisation as a result")
    return list(range(int(view.attr(node, "axis", -1)) % rank, rank))


def _one_result(node: ir.Node) -> bool:
    return not any(v.uses() or v.is_graph_output() for v in node.outputs[1:])


@writes("LayerNormalization", when=_one_result)
def layer_normalization(w: Emitter, node: ir.Node) -> None:
    """Over the trailing axes from ``axis`` on."""
    done = standardised(w, w.take(node.inputs[0]), _trailing(node), float(view.attr(node, "epsilon", 1e-5)))
    _affine(w, done, (_value(node, 1), _value(node, 2)), w.put(node.outputs[0]))


@writes("RMSNormalization")
def rms_normalization(w: Emitter, node: ir.Node) -> None:
    """``x / sqrt(mean(x^2) + epsilon) * scale``."""
    axes = _trailing(node)
    x = w.take(node.inputs[0])
    spread = mean(w, w.then("MUL", [x, x], None, ("MulOptions", {})), axes)
    done = _times_root(w, x, spread, float(view.attr(node, "epsilon", 1e-5)))
    _affine(w, done, (_value(node, 1), None), w.put(node.outputs[0]))


@writes("LpNormalization")
def lp_normalization(w: Emitter, node: ir.Node) -> None:
    """``x / norm`` along one axis."""
    x, out = w.take(node.inputs[0]), w.put(node.outputs[0])
    rank = len(w.shape(x))
    axis = int(view.attr(node, "axis", -1)) % rank
    shape = [1 if i == axis else d for i, d in enumerate(w.shape(x))]
    keep = ("ReducerOptions", {"keep_dims": True})
    if int(view.attr(node, "p", 2)) == 1:
        norm = w.then("SUM", [w.then("ABS", [x]), w.ints([axis])], shape, keep)
    else:
        norm = w.then("SQRT", [w.then("SUM", [w.then("SQUARE", [x]), w.ints([axis])], shape, keep)])
    safe = w.then("MAXIMUM", [norm, w.number(float(np.finfo(np.float32).tiny))], None, ("MaximumMinimumOptions", {}))
    w.op("DIV", [x, safe], [out], ("DivOptions", {}))  # a norm of zero gives zeros


@writes("LRN", domain=IMAGE)
def local_response(w: Emitter, node: ir.Node) -> None:
    """LOCAL_RESPONSE_NORMALIZATION: its alpha counts per element, ONNX's per window."""
    size = int(view.attr(node, "size"))
    if size % 2 == 0:
        raise Refused("local response normalisation over an even number of channels")
    options = {
        "radius": size // 2,
        "bias": float(view.attr(node, "bias", 1.0)),
        "alpha": float(view.attr(node, "alpha", 1e-4)) / size,
        "beta": float(view.attr(node, "beta", 0.75)),
    }
    ends = [w.take(node.inputs[0])], [w.put(node.outputs[0])]
    w.op("LOCAL_RESPONSE_NORMALIZATION", *ends, ("LocalResponseNormalizationOptions", options))

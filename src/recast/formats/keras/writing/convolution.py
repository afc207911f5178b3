"""Convolutions: Conv{1,2,3}D, DepthwiseConv{1,2}D, Conv{1,2,3}DTranspose. Kernels O I *k become *k I O."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._constants import Const
from recast.formats.keras.writing._context import Context, keras_shape
from recast.formats.keras.writing._network import Tensor, Weight
from recast.formats.keras.writing._space import Window, crop, window, zero_pad
from recast.formats.keras.writing._typed import cast, wide
from recast.formats.keras.writing.activation import fused, with_activation
from recast.graph import view


def _kernel(ctx: Context, node: ir.Node) -> Const:
    found = ctx.const(node.inputs[1])
    if found is None:
        raise Unfit("its kernel is computed at run time")
    return found


def _bias(ctx: Context, node: ir.Node) -> Const | None:
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is None:
        return None
    found = ctx.const(given)
    if found is None:
        raise Unfit("its bias is computed at run time")
    return found


def _settings(geometry: Window, kernel: tuple[int, ...]) -> dict[str, Any]:
    return {
        "kernel_size": list(kernel),
        "strides": list(geometry.strides),
        "padding": "same" if geometry.same else "valid",
        "dilation_rate": list(geometry.dilations),
    }


def _weights(kernel: Callable[[], np.ndarray], bias: Const | None, role: str = "kernel") -> list[Weight]:
    weights = [Weight(role, kernel)]
    if bias is not None:
        weights.append(Weight("bias", bias.load))
    return weights


def _spread(array: np.ndarray, dilations: tuple[int, ...]) -> np.ndarray:
    """A kernel (O I *k) with zeros between its taps."""
    spans = [(k - 1) * d + 1 for k, d in zip(array.shape[2:], dilations, strict=True)]
    out = np.zeros((*array.shape[:2], *spans), array.dtype)
    out[(slice(None), slice(None), *(slice(None, None, d) for d in dilations))] = array
    return out


@writes("Conv")
def conv(ctx: Context, node: ir.Node) -> None:
    """Convolution, grouped or depthwise."""
    x, w, bias = ctx.tensor(node.inputs[0]), _kernel(ctx, node), _bias(ctx, node)
    group = view.attr(node, "group", 1)
    geometry = window(node, w.shape[2:], x.shape[1:-1])
    load, kernel = w.load, w.shape[2:]
    if any(s > 1 for s in geometry.strides) and any(d > 1 for d in geometry.dilations):
        dilations = geometry.dilations  # Keras refuses strides together with dilation
        load, kernel = (lambda: _spread(w.load(), dilations)), geometry.spans
        plain = (1,) * geometry.rank
        geometry = Window(kernel, geometry.strides, plain, geometry.pads, geometry.same)
    if not geometry.same:
        x = zero_pad(ctx, node, x, geometry.pads)
    depthwise = group > 1 and w.shape[1] == 1 and group == x.shape[-1] and geometry.rank < 3
    depthwise = depthwise and len(set(geometry.strides)) == 1
    config = _settings(geometry, kernel)
    if not depthwise:
        _finish(
            ctx,
            node,
            node,
            (f"Conv{geometry.rank}D", {**config, "filters": w.shape[0], "groups": group}),
            (x, [Weight("kernel", lambda: _channels_last(load()))], (w.key,), bias),
        )
        return
    config["depth_multiplier"] = w.shape[0] // group

    def kernels() -> np.ndarray:
        array = load()
        spread = array.reshape(group, -1, *array.shape[2:])
        return np.ascontiguousarray(spread.transpose(*range(2, spread.ndim), 0, 1))

    point = _pointwise(ctx, node) if bias is None else None
    if point is None:
        kind = f"DepthwiseConv{geometry.rank}D"
        _finish(ctx, node, node, (kind, config), (x, [Weight("kernel", kernels)], (w.key,), bias))
        return
    second = _kernel(ctx, point)
    ctx.claim(point)
    weights = [
        Weight("depthwise_kernel", kernels),
        Weight("pointwise_kernel", lambda: _channels_last(second.load())),
    ]
    kind, config = f"SeparableConv{geometry.rank}D", {**config, "filters": second.shape[0]}
    _finish(ctx, node, point, (kind, config), (x, weights, (w.key, second.key), _bias(ctx, point)))


def _channels_last(array: np.ndarray) -> np.ndarray:
    """A kernel O I *k as *k I O."""
    return np.ascontiguousarray(array.transpose(*range(2, array.ndim), 1, 0))


def _pointwise(ctx: Context, node: ir.Node) -> ir.Node | None:
    """The 1×1 convolution after a depthwise one that was the same separable layer in the source."""
    nxt = ctx.follower(node.outputs[0], "Conv")
    if nxt is None or not ctx.same_layer(node, nxt) or view.attr(nxt, "group", 1) != 1:
        return None
    found = ctx.const(nxt.inputs[1])
    if found is None or any(k != 1 for k in found.shape[2:]) or any(view.attr(nxt, "pads") or []):
        return None
    return nxt if all(s == 1 for s in view.attr(nxt, "strides") or [1]) else None


def _finish(
    ctx: Context,
    node: ir.Node,
    last: ir.Node,
    what: tuple[str, dict[str, Any]],
    parts: tuple[Tensor, list[Weight], tuple[Hashable, ...], Const | None],
) -> None:
    """Add a convolution layer for ``node`` … ``last``, with the bias and the activation that follow it."""
    kind, config = what
    x, weights, key, bias = parts
    units = keras_shape(last.outputs[0])[-1]
    if bias is None and units is not None:
        last, bias = ctx.added_row(last, units)
    if bias is not None:
        weights = [*weights, Weight("bias", _flat(bias))]
    name, out = fused(ctx, last)
    config = with_activation({**config, "use_bias": bias is not None}, name)
    key = (*key, None if bias is None else bias.key)
    wanted = x.dtype
    if kind.startswith(("Depthwise", "Separable")):
        x = cast(ctx, node, x, wide(x.dtype))  # a CPU sums halves in halves here
    suffix = "" if x.dtype == wanted else "wide"
    y = ctx.layer(
        node, kind, config, [x], weights=weights, key=key, shape=keras_shape(out), dtype=x.dtype, suffix=suffix
    )
    ctx.bind(out, cast(ctx, node, y, wanted, suffix=""))


def _flat(const: Const) -> Callable[[], np.ndarray]:
    return lambda: const.load().reshape(-1)


@writes("ConvTranspose")
def conv_transpose(ctx: Context, node: ir.Node) -> None:
    """Transposed convolution: Keras's ``same`` where it is that, else ``valid`` and a crop."""
    x, w, bias = ctx.tensor(node.inputs[0]), _kernel(ctx, node), _bias(ctx, node)
    if view.attr(node, "group", 1) != 1:
        raise Unfit("Keras has no grouped transposed convolution")
    if view.attr(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID", "SAME_UPPER"):
        raise Unfit("Keras has no transposed convolution padded SAME_LOWER")
    rank = len(w.shape) - 2
    if rank not in (1, 2, 3):
        raise Unfit(f"Keras has no transposed convolution over {rank} axes")
    strides = tuple(view.attr(node, "strides") or [1] * rank)
    dilations = tuple(view.attr(node, "dilations") or [1] * rank)
    load, kernel = w.load, w.shape[2:]
    if any(d > 1 for d in dilations):
        load, kernel = (
            (lambda: _spread(w.load(), dilations)),
            tuple((k - 1) * d + 1 for k, d in zip(w.shape[2:], dilations, strict=True)),
        )
    same, cuts = _transposed_cuts(node, kernel, strides, x)
    config = {
        "filters": w.shape[1],
        "kernel_size": list(kernel),
        "strides": list(strides),
        "padding": "same" if same else "valid",
        "use_bias": bias is not None,
    }
    axes = (*range(2, rank + 2), 1, 0)
    weights = _weights(lambda: np.ascontiguousarray(load().transpose(axes)), bias)
    key = (w.key, None if bias is None else bias.key)
    name, out = fused(ctx, node)
    settings = with_activation(config, name)
    full = tuple(
        None if n is None else n * s + (0 if same else max(k - s, 0))
        for n, s, k in zip(x.shape[1:-1], strides, kernel, strict=True)
    )
    shape = (x.shape[0], *full, w.shape[1])
    kind = f"Conv{rank}DTranspose"
    y = ctx.layer(node, kind, settings, [x], weights=weights, key=key, shape=shape)
    ctx.bind(out, y if same else crop(ctx, node, y, cuts))


def _transposed_cuts(
    node: ir.Node, kernel: tuple[int, ...], strides: tuple[int, ...], x: Tensor
) -> tuple[bool, list[tuple[int, int]]]:
    """Whether Keras's ``same`` fits, else what to cut from Keras's ``valid`` result."""
    rank = len(kernel)
    extra = view.attr(node, "output_padding") or [0] * rank
    if view.attr(node, "output_shape") or view.attr(node, "auto_pad", "NOTSET") == "SAME_UPPER":
        wanted = view.attr(node, "output_shape") or keras_shape(node.outputs[0])[1:-1]
        if view.attr(node, "auto_pad", "NOTSET") == "SAME_UPPER" and not view.attr(node, "output_shape"):
            totals = [max(k - s, 0) for k, s in zip(kernel, strides, strict=True)]
        elif any(n is None for n in (*wanted, *x.shape[1:-1])):
            raise Unfit("its output size is only known at run time")
        else:
            totals = [
                (n or 0) * s - s + e + k - o
                for n, s, e, k, o in zip(x.shape[1:-1], strides, extra, kernel, wanted[-rank:], strict=True)
            ]
        pads = [(t // 2, t - t // 2) for t in totals]
    else:
        flat = view.attr(node, "pads") or [0] * (2 * rank)
        pads = [(int(flat[i]), int(flat[i + rank])) for i in range(rank)]
    same, cuts = any(p != (0, 0) for p in pads) or kernel == strides, []
    for k, s, e, (before, after) in zip(kernel, strides, extra, pads, strict=True):
        total = max(k - s, 0)
        fits = k >= s and before == total // 2 and before + after - e == k - s
        same = same and fits
        end = max(k - s, 0) + s - k + after - e
        if end < 0 or before < 0:
            raise Unfit("its output padding reaches beyond what the kernel covers")
        cuts.append((before, end))
    return same, cuts

"""Pad: zero padding layers for images, else an operation; the wrapping and mirrored modes are operations."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.keras.writing import Unfit, writes
from recast.formats.keras.writing._context import Context, keras_shape
from recast.formats.keras.writing._space import crop, zero_pad
from recast.graph import view

_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


@writes("Pad")
def pad(ctx: Context, node: ir.Node) -> None:
    """Pad by constant amounts."""
    x = ctx.tensor(node.inputs[0])
    rank = len(x.shape)
    given = [node.inputs[i] if len(node.inputs) > i else None for i in (2, 3)]
    axes = [a % rank for a in ctx.ints(given[1], "axes")] if given[1] is not None else list(range(rank))
    flat = ctx.ints(node.inputs[1], "amounts")
    pads = [(0, 0)] * rank
    for index, axis in enumerate(axes):
        pads[axis] = (flat[index], flat[index + len(axes)])
    fill = 0 if given[0] is None else ctx.array(given[0], "fill value").reshape(-1)[0].item()
    mode = view.attr(node, "mode", "constant")
    cuts = [(max(0, -a), max(0, -b)) for a, b in pads]
    if any(map(any, cuts)):
        if any(map(any, (cuts[0], cuts[-1]))) or rank not in (3, 4, 5) or mode != "constant":
            raise Unfit("its amounts are negative")
        x = crop(ctx, node, x, cuts[1:-1])
        pads = [(max(0, a), max(0, b)) for a, b in pads]
    out = node.outputs[0]
    spatial = rank in (3, 4, 5) and pads[0] == pads[-1] == (0, 0)
    if not any(map(any, pads)):
        ctx.bind(out, x)
    elif mode == "constant" and fill == 0 and spatial and "float" in x.dtype:
        ctx.bind(out, zero_pad(ctx, node, x, pads[1:-1], suffix=""))
    elif mode not in _MODES:
        raise Unfit(f"Keras has no padding mode {mode}")
    elif mode in ("edge", "wrap"):
        raise Unfit(f"not every Keras backend has padding mode {mode}")
    else:
        config = {"pad_width": [list(p) for p in pads], "mode": _MODES[mode]}
        args = [x, fill] if mode == "constant" else [x]
        ctx.bind(out, ctx.op(node, "numpy.Pad", args, config, shape=keras_shape(out), dtype=x.dtype))

"""Dense layers, matrix products and convolutions."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from recast.formats.mindspore.read import Call
from recast.formats.mindspore.reading import Refusal, reads
from recast.formats.mindspore.types import NCHW, PAD, SAME, VALID
from recast.graph.view import dims, static_shape


def transposed(c: Call, x: ir.Value) -> ir.Value:
    """The last two dimensions swapped."""
    rank = len(dims(x))
    return c.b.op("Transpose", [x], {"perm": [*range(rank - 2), rank - 1, rank - 2]})


@reads("MatMul", "BatchMatMul", "MatMulExt", "BatchMatMulExt")
def matmul(c: Call) -> ir.Value:
    a, b = c.value(0), c.value(1)
    flags = (False, False)
    if not c.op.endswith("Ext"):
        flags = bool(c.arg("transpose_a", 2, False)), bool(c.arg("transpose_b", 3, False))
    if len(dims(a)) == len(dims(b)) == 2 and b.const_value is not None and not flags[0]:
        return c.b.op("Gemm", [a, b], {"transB": int(flags[1])} if flags[1] else None)
    return c.b.op("MatMul", [transposed(c, a) if flags[0] else a, transposed(c, b) if flags[1] else b])


@reads("Dense")
def dense(c: Call) -> ir.Value:
    x, weights = c.value(0), c.value(1)
    bias = c.value(2) if len(c.args) > 2 and c.args[2] is not None else None
    if len(dims(x)) == 2:
        return c.b.op("Gemm", [x, weights, *([] if bias is None else [bias])], {"transB": 1})
    made = c.b.op("MatMul", [x, transposed(c, weights)])
    return made if bias is None else c.b.op("Add", [made, bias])


@reads("BiasAdd")
def bias_add(c: Call) -> ir.Value:
    x, bias = c.value(0), c.value(1)
    producer, rank = x.producer(), len(dims(x))
    if c.arg("data_format", 2, c.attribute("format", NCHW)) in ("NHWC", 1):
        return c.b.op("Add", [x, bias])
    alone = c.reader.fanout.get(id(x), 0) == 1 and not list(x.uses())
    joins = producer is not None and producer.op_type in ("Conv", "ConvTranspose", "Gemm") and len(producer.inputs) == 2
    if joins and alone and producer is not None and bias.const_value is not None:
        producer.resize_inputs(3)
        producer.replace_input_with(2, bias)
        return x
    if rank > 2:
        bias = c.b.op("Reshape", [bias, c.b.const([-1, *[1] * (rank - 2)])])
    return c.b.op("Add", [x, bias])


def channels_first(c: Call, index: int | None = None) -> None:
    """Refuse other layouts."""
    held = c.arg("format", index, "NCHW") if index is not None else c.attribute("format", "NCHW")
    if held not in ("NCHW", "NCDHW", NCHW, 14):
        raise Refusal(f"layout {held}")


def mode_of(held: Any) -> int:
    """A padding mode, from its number or name."""
    names = {"pad": PAD, "same": SAME, "valid": VALID}
    mode = names.get(held.lower()) if isinstance(held, str) else held
    if mode not in (PAD, SAME, VALID):
        raise Refusal(f"padding mode {held}")
    return int(mode)


def spatial(held: Any, count: int) -> list[int]:
    """The last ``count`` numbers; one number counts for all."""
    if isinstance(held, int):
        return [held] * count
    if not isinstance(held, tuple) or len(held) < count or not all(isinstance(v, int) for v in held):
        raise Refusal("a window that is not constant")
    return list(held[-count:])


def split_pads(held: Any, count: int) -> list[int]:
    """MindSpore's (begin, end) by dimension → ONNX's (begins, ends)."""
    if isinstance(held, int):
        return [held] * 2 * count
    if not isinstance(held, tuple) or len(held) != 2 * count or not all(isinstance(v, int) for v in held):
        raise Refusal(f"padding {held}")
    return [*held[0::2], *held[1::2]]


@reads("Conv2D", "Conv3D")
def conv(c: Call) -> ir.Value:
    channels_first(c)
    x, weights, count = c.value(0), c.value(1), 2 if c.op == "Conv2D" else 3
    if c.attribute("mode", 1) != 1:
        raise Refusal("this mode of convolution")
    shape = static_shape(weights)
    if shape is None or len(shape) != count + 2:
        raise Refusal("its kernel's shape is not known")
    mode = mode_of(c.attribute("pad_mode", "valid"))
    strides = c.attribute("stride", None) or c.attribute("strides", 1)
    dilations = c.attribute("dilation", None) or c.attribute("dilations", 1)
    attributes: dict[str, Any] = {
        "kernel_shape": list(shape[2:]),
        "strides": spatial(strides, count),
        "dilations": spatial(dilations, count),
        "group": c.attribute("group", 1),
    }
    if mode == SAME and max(attributes["dilations"]) > 1:  # runtimes refuse the two together
        attributes["pads"] = same_pads(dims(x)[2:], attributes)
    elif mode == SAME:
        attributes["auto_pad"] = "SAME_UPPER"
    elif mode == PAD:
        attributes["pads"] = split_pads(c.attribute("pad"), count)
    return c.b.op("Conv", [x, weights], attributes)


def same_pads(sizes: tuple[int | str | None, ...], window: dict[str, Any]) -> list[int]:
    """Explicit (begins, ends) of SAME padding."""
    begins, ends = [], []
    for i, size in enumerate(sizes):
        if not isinstance(size, int):
            raise Refusal("SAME padding with dilation needs known sizes")
        stride, reach = window["strides"][i], (window["kernel_shape"][i] - 1) * window["dilations"][i] + 1
        total = max(0, (-(-size // stride) - 1) * stride + reach - size)
        begins.append(total // 2)
        ends.append(total - total // 2)
    return [*begins, *ends]


@reads("Conv3DTranspose")
def conv3d_transpose(c: Call) -> ir.Value:
    """Its output's size follows from the padding and ``output_padding``."""
    channels_first(c)
    mode, shape = mode_of(c.attribute("pad_mode", "valid")), static_shape(c.value(1))
    if mode == SAME or shape is None:
        raise Refusal("SAME padding in three dimensions" if mode == SAME else "its kernel's shape is not known")
    attributes = {
        "kernel_shape": list(shape[2:]),
        "strides": spatial(c.attribute("stride", None) or c.attribute("strides", 1), 3),
        "dilations": spatial(c.attribute("dilation", None) or c.attribute("dilations", 1), 3),
        "pads": split_pads(c.attribute("pad"), 3) if mode == PAD else [0] * 6,
        "output_padding": spatial(c.attribute("output_padding", 0), 3),
        "group": c.attribute("group", 1),
    }
    return c.b.op("ConvTranspose", [c.value(0), c.value(1)], attributes)


@reads("Conv2DTranspose", "Conv2DBackpropInput")
def conv_transpose(c: Call) -> ir.Value:
    channels_first(c)
    x, weights, count = c.value(0), c.value(1), 2
    shape, sizes = static_shape(weights), dims(x)[2:]
    wanted = c.arg("input_size", 2, ())
    if isinstance(wanted, ir.Value):
        raise Refusal("its output's size is not constant")
    out = [d for d in wanted[2:] if isinstance(d, int)]
    if shape is None or len(out) != count or not all(isinstance(d, int) for d in sizes):
        raise Refusal("its sizes are not constant")
    strides = spatial(c.attribute("stride", None) or c.attribute("strides", 1), count)
    dilations = spatial(c.attribute("dilation", None) or c.attribute("dilations", 1), count)
    mode = mode_of(c.attribute("pad_mode", "valid"))
    known = [d for d in sizes if isinstance(d, int)]
    reach = [(k - 1) * d + 1 for k, d in zip(shape[2:], dilations, strict=True)]
    full = [(size - 1) * s + r for size, s, r in zip(known, strides, reach, strict=True)]
    if mode == PAD:
        pads = split_pads(c.attribute("pad"), count)
    else:
        totals = [max(0, f - o) if mode == SAME else 0 for f, o in zip(full, out, strict=True)]
        pads = [*(t // 2 for t in totals), *(t - t // 2 for t in totals)]
    extra = [o - f + pads[i] + pads[count + i] for i, (o, f) in enumerate(zip(out, full, strict=True))]
    if any(e < 0 or e >= max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        raise Refusal("its output's size does not follow from its input's")
    attributes = {
        "kernel_shape": list(shape[2:]),
        "strides": strides,
        "dilations": dilations,
        "pads": pads,
        "output_padding": extra,
        "group": c.attribute("group", 1),
    }
    return c.b.op("ConvTranspose", [x, weights], attributes)


@reads("MatrixDeterminant")
def determinant(c: Call) -> ir.Value:
    return c.b.op("Det", [c.value(0)])

"""Convolutions: kernels become (O, I, *spatial), images channels-first between Transposes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.savedmodel.call import Call
from recast.formats.savedmodel.reading import reads
from recast.formats.savedmodel.reading.dense import activated

_LARGEST = 1 << 30


def spatial(c: Call, name: str, dims: int) -> list[int]:
    """The numbers of a per-axis attribute for the spatial axes; the batch's and channels' must be 1.

    Raises:
        BadModel: they are not.
    """
    held = c.attr(name)
    values = [1] * (dims + 2) if held is None or held == [] else [int(v) for v in held]
    place = slice(1, dims + 1) if c.channels_last else slice(2, dims + 2)
    if len(values) != dims + 2 or not all(0 < v < _LARGEST for v in values):
        raise c.bad(f"{name} {values}")
    chosen = values[place]
    if any(v != 1 for v in values[:1] + (values[-1:] if c.channels_last else values[1:2])):
        raise UnsupportedOp(f"{name} over batch or channels")
    return chosen


def sizes(c: Call, number: int) -> list[int | str | None]:
    """The spatial sizes of an image."""
    shape = c.shape(number)
    return shape[1:-1] if c.channels_last else shape[2:]


def channels(c: Call, number: int) -> int:
    """The number of channels of an image.

    Raises:
        UnsupportedOp: it is unknown.
    """
    found = c.shape(number)[-1 if c.channels_last else 1]
    if not isinstance(found, int) or found < 1:
        raise UnsupportedOp("the number of channels is unknown")
    return found


def window(c: Call, strides: list[int], kernel: list[int], dilations: list[int]) -> dict[str, Any]:
    """Padding attributes: SAME is TensorFlow's rule, which depends on the input's size.

    Raises:
        UnsupportedOp: SAME with dilation and stride on unknown sizes.
    """
    padding = str(c.attr("padding", ""))
    if padding == "VALID":
        return {"pads": [0] * (2 * len(kernel))}
    if padding == "EXPLICIT":
        return {"pads": _explicit(c, len(kernel))}
    if padding != "SAME":
        raise c.bad(f"padding {padding}")
    if all(d == 1 for d in dilations):
        return {"auto_pad": "SAME_UPPER"}
    before, after = [], []
    for size, stride, k, dilation in zip(sizes(c, 0), strides, kernel, dilations, strict=True):
        span = (k - 1) * dilation + 1
        if isinstance(size, int):
            total = max(0, ((size + stride - 1) // stride - 1) * stride + span - size)
        elif stride == 1:
            total = span - 1
        else:
            raise UnsupportedOp("SAME padding with dilation and stride on an unknown image size")
        before.append(total // 2)
        after.append(total - total // 2)
    return {"pads": before + after}


def _explicit(c: Call, dims: int) -> list[int]:
    held = [int(v) for v in c.attr("explicit_paddings", [])]
    place = slice(1, dims + 1) if c.channels_last else slice(2, dims + 2)
    pairs = list(zip(held[0::2], held[1::2], strict=False))
    if len(held) != 2 * (dims + 2) or min(held) < 0 or max(held) > _LARGEST:
        raise c.bad(f"explicit_paddings {held}")
    chosen = pairs[place]
    if sum(a + b for a, b in pairs) != sum(a + b for a, b in chosen):
        raise UnsupportedOp("padding of batch or channels")
    return [a for a, _ in chosen] + [b for _, b in chosen]


def kernel_shape(c: Call, number: int, rank: int) -> list[int]:
    """The stored kernel's shape, all numbers.

    Raises:
        UnsupportedOp: it is computed and unknown.
    """
    c.rank(number, rank)
    known = [d for d in c.shape(number) if isinstance(d, int) and d > 0]
    if len(known) != rank:
        raise UnsupportedOp("the kernel's shape is unknown")
    return known


def _attributes(c: Call, kernel: list[int], dims: int, group: int) -> dict[str, Any]:
    strides, dilations = spatial(c, "strides", dims), spatial(c, "dilations", dims)
    base = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "group": group}
    return base | window(c, strides, kernel, dilations)


@reads("Conv2D", "Conv3D", "_FusedConv2D")
def convolution(c: Call) -> None:
    """Kernel *spatial I O. Groups follow from the kernel's input channels; a bias that follows is taken in."""
    dims = 3 if c.kind == "Conv3D" else 2
    c.rank(0, dims + 2)
    stored = kernel_shape(c, 1, dims + 2)
    inner, outer = stored[-2:]
    incoming = channels(c, 0)
    if incoming % inner or outer % (incoming // inner):
        raise c.bad(f"{incoming} input channels do not fit a kernel of {inner} → {outer}")
    weight = c.weight(1, "kernel", (dims + 1, dims, *range(dims)))
    attributes = _attributes(c, stored[:dims], dims, incoming // inner)
    if c.kind == "_FusedConv2D":
        c.out(_fused(c, weight, attributes))
        return
    c.out(c.image("Conv", [c.x(0), weight, c.bias(c.channels_last)], attributes))


def _fused(c: Call, weight: ir.Value, attributes: dict[str, Any]) -> ir.Value:
    steps = c.attr("fused_ops", [])
    if steps[:1] != ["BiasAdd"]:
        raise UnsupportedOp(f"fused {', '.join(map(str, steps))}")
    value = c.image("Conv", [c.x(0), weight, c.weight(2, "bias")], attributes)
    return activated(c, value, steps[1:])


@reads("DepthwiseConv2dNative", "_FusedDepthwiseConv2dNative")
def depthwise(c: Call) -> None:
    """Kernel H W C M; output channel = input channel · M + m, as with groups."""
    c.rank(0, 4)
    height, width, inner, multiplier = kernel_shape(c, 1, 4)
    if channels(c, 0) != inner:
        raise c.bad(f"{channels(c, 0)} input channels do not fit a kernel of {inner}")
    weight = c.reshaped_weight(1, "kernel", (2, 3, 0, 1), (inner * multiplier, 1, height, width))
    attributes = _attributes(c, [height, width], 2, inner)
    if c.kind.startswith("_"):
        c.out(_fused(c, weight, attributes))
        return
    c.out(c.image("Conv", [c.x(0), weight, c.bias(c.channels_last)], attributes))


@reads("Conv2DBackpropInput", "Conv3DBackpropInputV2")
def transposed(c: Call) -> None:
    """Inputs: output shape, kernel (*spatial O I), image. The output's shape decides the padding."""
    dims = 2 if c.kind == "Conv2DBackpropInput" else 3
    c.rank(2, dims + 2)
    stored = kernel_shape(c, 1, dims + 2)
    kernel, strides = stored[:dims], spatial(c, "strides", dims)
    dilations = spatial(c, "dilations", dims)
    if channels(c, 2) != stored[-1]:
        raise c.bad(f"{channels(c, 2)} input channels do not fit a kernel of shape {stored}")
    before, after, extra = [], [], []
    explicit = _explicit(c, dims) if str(c.attr("padding")) == "EXPLICIT" else None
    wanted = _wanted(c, dims)
    for axis, (size, target) in enumerate(zip(sizes(c, 2), wanted, strict=True)):
        span = (kernel[axis] - 1) * dilations[axis] + 1
        if isinstance(size, int) and isinstance(target, int):
            given = None if explicit is None else (explicit[axis], explicit[axis + dims])
            place = _place(c, (size, target), (span, strides[axis]), given)
        else:
            place = _open_place(c, target, (span, strides[axis]))
        before.append(place[0])
        after.append(max(0, place[1]))
        extra.append(max(0, -place[1]))
    attributes = {
        "kernel_shape": kernel,
        "strides": strides,
        "dilations": dilations,
        "pads": before + after,
        "output_padding": extra,
    }
    weight = c.weight(1, "kernel", (dims + 1, dims, *range(dims)))
    c.out(c.image("ConvTranspose", [c.x(2), weight, c.bias(c.channels_last)], attributes))


def _place(c: Call, ends: tuple[int, int], form: tuple[int, int], explicit: tuple[int, int] | None) -> tuple[int, int]:
    """What is cut before and after (less than zero: added) to get from ``(size - 1)·stride + span`` to the target."""
    (size, target), (span, stride) = ends, form
    padding = str(c.attr("padding"))
    if explicit is not None:
        steps, first = (target + sum(explicit) - span) // stride + 1, explicit[0]
    elif padding == "SAME":
        steps = -(-target // stride)
        first = max(0, (steps - 1) * stride + span - target) // 2
    else:
        steps, first = -(-(target - span + 1) // stride), 0
    if steps != size:
        raise c.bad(f"output size {target} does not belong to input size {size}")
    return first, (size - 1) * stride + span - target - first


def _open_place(c: Call, target: int | str | None, form: tuple[int, int]) -> tuple[int, int]:
    """An unknown size: layers make ``size · stride`` of it with SAME, which is only true where nothing else is said."""
    span, stride = form
    raise UnsupportedOp(
        f"a transposed convolution (window {span}, stride {stride}) whose output size ({target}) is unknown"
    )


def _wanted(c: Call, dims: int) -> Sequence[int | str | None]:
    from recast.formats.savedmodel import constants

    place = slice(1, dims + 1) if c.channels_last else slice(2, dims + 2)
    array = c.array(0)
    if array is not None:
        if array.size == dims:  # TensorFlow 1 may give the spatial sizes only
            return [int(v) for v in array.reshape(-1)]
        return [int(v) for v in array.reshape(-1)][place]
    part = constants.partial(c.scope.reading, c.x(0))
    if part is None or len(part.entries) != dims + 2:
        return [None] * dims
    return part.entries[place]

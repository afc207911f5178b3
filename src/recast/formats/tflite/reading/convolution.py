"""Convolutions: kernels become (O, I, *spatial), images channels-first between Transposes."""

from __future__ import annotations

from recast.errors import UnsupportedOp
from recast.formats.tflite import schema
from recast.formats.tflite.read_call import Call
from recast.formats.tflite.reading import reads

_SPATIAL = {2: ("h", "w"), 3: ("d", "h", "w")}


def window(c: Call, strides: list[int], kernel: list[int], dilations: list[int]) -> dict[str, object]:
    """Padding attributes: SAME is TensorFlow's rule, which depends on the input's size.

    Raises:
        UnsupportedOp: SAME with dilation and stride on unknown sizes.
    """
    padding = schema.name_of("Padding", int(c.opt("padding")))
    if padding == "VALID":
        return {"pads": [0] * (2 * len(kernel))}
    if padding != "SAME":
        raise c.bad(f"padding {c.opt('padding')}")
    if all(d == 1 for d in dilations):
        return {"auto_pad": "SAME_UPPER"}
    before, after = [], []
    sizes = c.shape(0)[1:-1]
    for size, stride, k, dilation in zip(sizes, strides, kernel, dilations, strict=True):
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


def kernel_shape(c: Call, number: int, rank: int) -> list[int]:
    """The stored kernel's shape, all numbers.

    Raises:
        UnsupportedOp: it is computed and unknown.
    """
    shape = c.shape(number)
    c.rank(number, rank)
    known = [d for d in shape if isinstance(d, int) and d > 0]
    if len(known) != rank:
        raise UnsupportedOp("the kernel's shape is unknown")
    return known


def channels(c: Call, number: int) -> int:
    """The number of channels of a channels-last input.

    Raises:
        UnsupportedOp: it is unknown.
    """
    last = c.shape(number)[-1]
    if not isinstance(last, int) or last < 1:
        raise UnsupportedOp("the number of channels is unknown")
    return last


@reads("CONV_2D", "CONV_3D")
def convolution(c: Call) -> None:
    """CONV_2D: kernel O H W I; CONV_3D: kernel D H W I O. Groups follow from the kernel's input channels."""
    dims = 2 if c.kind == "CONV_2D" else 3
    c.rank(0, dims + 2)
    stored = kernel_shape(c, 1, dims + 2)
    spatial = stored[1:3] if dims == 2 else stored[:3]
    inner, outer = (stored[3], stored[0]) if dims == 2 else (stored[3], stored[4])
    perm = (0, 3, 1, 2) if dims == 2 else (4, 3, 0, 1, 2)
    strides = c.positive(*(f"stride_{a}" for a in _SPATIAL[dims]))
    dilations = c.positive(*(f"dilation_{a}_factor" for a in _SPATIAL[dims]))
    incoming = channels(c, 0)
    if incoming % inner or outer % (incoming // inner):
        raise c.bad(f"{incoming} input channels do not fit a kernel of {inner} → {outer}")
    attributes = {
        "kernel_shape": spatial,
        "strides": strides,
        "dilations": dilations,
        "group": incoming // inner,
        **window(c, strides, spatial, dilations),
    }
    inputs = [c.x(0), c.weight(1, "kernel", perm), c.bias(2)]
    c.out(c.activate(c.image("Conv", inputs, attributes)))


@reads("DEPTHWISE_CONV_2D")
def depthwise(c: Call) -> None:
    """The kernel is stored as 1 H W (C·multiplier); output channel = input channel · multiplier + m, as with groups."""
    c.rank(0, 4)
    one, height, width, outer = kernel_shape(c, 1, 4)
    incoming = channels(c, 0)
    if one != 1 or outer % incoming:
        raise c.bad(f"{incoming} input channels do not fit a kernel of shape {[one, height, width, outer]}")
    strides = c.positive("stride_h", "stride_w")
    dilations = c.positive("dilation_h_factor", "dilation_w_factor")
    attributes = {
        "kernel_shape": [height, width],
        "strides": strides,
        "dilations": dilations,
        "group": incoming,
        **window(c, strides, [height, width], dilations),
    }
    inputs = [c.x(0), c.weight(1, "kernel", (3, 0, 1, 2)), c.bias(2)]
    c.out(c.activate(c.image("Conv", inputs, attributes)))


@reads("TRANSPOSE_CONV", "CONV_3D_TRANSPOSE")
def transposed(c: Call) -> None:
    """Inputs: output shape, kernel (O H W I, or D H W O I), image, bias. The output shape decides the padding."""
    dims = 2 if c.kind == "TRANSPOSE_CONV" else 3
    c.rank(2, dims + 2)
    stored = kernel_shape(c, 1, dims + 2)
    kernel = stored[1:3] if dims == 2 else stored[:3]
    perm = (3, 0, 1, 2) if dims == 2 else (4, 3, 0, 1, 2)
    strides = c.positive(*(f"stride_{a}" for a in _SPATIAL[dims]))
    if dims == 3 and any(d != 1 for d in c.positive(*(f"dilation_{a}_factor" for a in _SPATIAL[3]))):
        raise UnsupportedOp("dilation in a transposed convolution")
    if channels(c, 2) != stored[-1]:
        raise c.bad(f"{channels(c, 2)} input channels do not fit a kernel of shape {stored}")
    same = schema.name_of("Padding", int(c.opt("padding"))) == "SAME"
    before, after, extra = [], [], []
    for size, wanted, k, stride in zip(c.shape(2)[1:-1], _wanted(c)[1:-1], kernel, strides, strict=True):
        if not isinstance(size, int) or not isinstance(wanted, int):
            raise UnsupportedOp("a transposed convolution whose output size is unknown")
        steps = -(-wanted // stride) if same else -(-(wanted - k + 1) // stride)
        if steps != size:
            raise c.bad(f"output size {wanted} does not belong to input size {size}")
        full = (size - 1) * stride + k
        first = max(0, full - wanted) // 2 if same else 0
        last = full - wanted - first
        before.append(first)
        after.append(max(0, last))
        extra.append(max(0, -last))
    attributes = {"kernel_shape": kernel, "strides": strides, "pads": before + after, "output_padding": extra}
    image, weight = c.x(2), c.weight(1, "kernel", perm)
    c.out(c.activate(c.image("ConvTranspose", [image, weight, c.bias(3, 1, 2)], attributes)))


def _wanted(c: Call) -> list[int | str | None]:
    known = c.array(0)
    if known is not None:
        return [int(v) for v in known.reshape(-1)]
    content = c.scope.contents.get(c.index(0))
    if content is not None:
        return list(content)
    return [d if d >= 0 else None for d in c.scope.tensor(c.output(0)).signature]

"""Dense, Embedding, shape layers, activation layers, and layers that only matter in training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.call import LayerCall
from recast.formats.keras.reading import reads


def kernel_bias(config: Mapping[str, Any]) -> list[str]:
    """Roles of layers with a kernel and, unless ``use_bias`` is off, a bias."""
    return ["kernel", "bias"] if config.get("use_bias", True) else ["kernel"]


@reads("InputLayer", "Identity", "ActivityRegularization", masking="keep")
def identity(c: LayerCall) -> ir.Value:
    """The tensor itself."""
    return c.x


@reads("Dense", weights=kernel_bias, masking="keep")
def dense(c: LayerCall) -> ir.Value:
    """Rank 2: Gemm; other ranks: MatMul and Add."""
    x = c.x
    units = c.get("units")
    kernel = c.param("kernel", (c.dims(x)[-1], units))
    bias = c.param("bias", (units,)) if c.has("bias") else None
    if c.rank == 2:
        y = c.op("Gemm", [x, kernel, bias], {"alpha": 1.0, "beta": 1.0})
    else:
        y = c.op("MatMul", [x, kernel])
        if bias is not None:
            y = c.op("Add", [y, bias])
    return c.activate(y)


@reads("Embedding", weights=lambda _: ["embeddings"], masking="use")
def embedding(c: LayerCall) -> ir.Value:
    """Gather rows; with ``mask_zero`` id 0 is masked."""
    shape = (c.get("input_dim"), c.get("output_dim"))
    ids = c.x
    if ids in c.reading.zeros and shape[0] == 1 and c.rank == 0 and not c.get("mask_zero", False):
        return c.param("embeddings", shape, lambda table: table.reshape(-1))
    table = c.param("embeddings", shape)
    if ids.dtype not in (ir.DataType.INT32, ir.DataType.INT64):
        ids = c.op("Cast", [ids], {"to": int(ir.DataType.INT32)})
    y = c.op("Gather", [table, ids], {"axis": 0})
    if c.get("mask_zero", False):
        c.reading.masks[y] = lambda: c.op("Not", [c.op("Equal", [ids, c.like(0, ids)])])
    return y


@reads("Activation", masking="keep")
def activation(c: LayerCall) -> ir.Value:
    """A named activation."""
    return c.activate(c.x)


@reads("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", masking="keep")
def dropout(c: LayerCall) -> ir.Value:
    """Identity at inference; the rate is kept."""
    return c.op("Dropout", [c.x, c.like(float(c.get("rate", 0.5)), c.x)])


@reads(
    "GaussianNoise",
    "GaussianDropout",
    "AlphaDropout",
    *("RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom", "RandomContrast", "RandomBrightness"),
    *("RandomCrop", "RandomShear", "RandomHue", "RandomSaturation", "RandomGrayscale", "RandomPosterization"),
    *("RandomSharpness", "RandomColorDegeneration", "RandomColorJitter", "RandomErasing", "RandomGaussianBlur"),
    *("RandomInvert", "RandomPerspective", "RandomElasticTransform", "AugMix", "RandAugment", "MixUp", "CutMix"),
    masking="keep",
)
def training_only(c: LayerCall) -> ir.Value:
    """Nothing happens at inference."""
    if c.layer.class_name == "RandomCrop":
        raise c.refuse("at inference it resizes and crops", "use Resizing or CenterCrop")
    c.find(f"{c.layer.class_name} only acts in training: it is an identity here")
    return c.op("Identity", [c.x])


@reads("Flatten", masking="drop")
def flatten(c: LayerCall) -> ir.Value:
    """(N, …) → (N, product); channels_first is brought to channels_last before."""
    x = c.x
    if c.rank == 1:
        return c.op("Unsqueeze", [x, c.const([1])])
    if c.channels_first and c.rank > 2:
        x = c.b.channels_last(x)
    rest = c.dims(x)[1:]
    size = -1 if None in rest else math.prod(d for d in rest if d is not None)
    return c.op("Reshape", [x, c.const([0, size])])


def reshape_to(c: LayerCall, x: ir.Value, target: list[int]) -> ir.Value:
    """Reshape all axes but the batch; one ``-1`` is worked out where the sizes are known."""
    rest = c.dims(x)[1:]
    if -1 in target and None not in rest:
        known = math.prod(t for t in target if t != -1)
        total = math.prod(d for d in rest if d is not None)
        if known == 0 or total % known:
            raise c.refuse(f"{total} values do not fit {target}")
        target = [total // known if t == -1 else t for t in target]
    if 0 in target:  # sizes, where ONNX would copy what the input has
        return c.op("Reshape", [x, c.const([c.fixed(x, 0), *target])], {"allowzero": 1})
    return c.op("Reshape", [x, c.const([0, *target])])


@reads("Reshape", masking="drop")
def reshape(c: LayerCall) -> ir.Value:
    """``target_shape`` without the batch."""
    return reshape_to(c, c.x, [int(t) if t is not None else -1 for t in c.get("target_shape", [])])


@reads("Permute", masking="drop")
def permute(c: LayerCall) -> ir.Value:
    """``dims`` count from 1."""
    return c.op("Transpose", [c.x], {"perm": [0, *[int(d) for d in c.get("dims")]]})


@reads("RepeatVector", masking="drop")
def repeat_vector(c: LayerCall) -> ir.Value:
    """(N, F) → (N, n, F)."""
    x = c.op("Unsqueeze", [c.x, c.const([1])])
    return c.op("Expand", [x, c.const([1, int(c.get("n")), 1])])


@reads("Masking", masking="use")
def masking(c: LayerCall) -> ir.Value:
    """Zero the steps whose features all equal ``mask_value``; those steps are masked."""
    x, value = c.x, c.like(float(c.get("mask_value", 0.0)), c.x)
    differs = c.op("Not", [c.op("Equal", [x, value])])
    number = c.op("Cast", [differs], {"to": int(x.dtype or ir.DataType.FLOAT)})
    kept = c.op("ReduceMax", [number, c.const([c.rank - 1])], {"keepdims": 1})
    y = c.op("Mul", [x, kept])
    last = c.rank - 1
    c.reading.masks[y] = lambda: c.op("Cast", [c.op("Squeeze", [kept, c.const([last])])], {"to": int(ir.DataType.BOOL)})
    return y


@reads("ReLU", masking="keep")
def relu(c: LayerCall) -> ir.Value:
    """``max_value``, ``negative_slope``, ``threshold``."""
    x, top = c.x, c.layer.config.get("max_value")
    slope, threshold = float(c.get("negative_slope", 0.0)), float(c.get("threshold", 0.0))
    if threshold:
        y = c.op("Where", [c.op("Greater", [x, c.like(threshold, x)]), x, c.like(0.0, x)])  # the threshold itself is 0
        if slope:
            low = c.op("Min", [c.op("Sub", [x, c.like(threshold, x)]), c.like(0.0, x)])
            y = c.op("Add", [y, c.op("Mul", [low, c.like(slope, x)])])
        return y if top is None else c.op("Min", [y, c.like(float(top), x)])
    if slope:
        y = c.op("LeakyRelu", [x], {"alpha": slope})
        return y if top is None else c.op("Min", [y, c.like(float(top), x)])
    return c.op("Relu", [x]) if top is None else c.op("Clip", [x, c.like(0.0, x), c.like(float(top), x)])


@reads("LeakyReLU", masking="keep")
def leaky_relu(c: LayerCall) -> ir.Value:
    """``negative_slope`` (Keras 3) or ``alpha``."""
    slope = c.layer.config.get("negative_slope", c.layer.config.get("alpha"))
    return c.op("LeakyRelu", [c.x], {"alpha": float(0.3 if slope is None else slope)})


@reads("PReLU", weights=lambda _: ["alpha"], masking="keep")
def prelu(c: LayerCall) -> ir.Value:
    """One slope per position of the axes that are not shared."""
    shared = {int(a) for a in c.get("shared_axes", [])}
    shape = [1 if axis in shared else d for axis, d in enumerate(c.dims(c.x))][1:]
    return c.op("PRelu", [c.x, c.param("alpha", shape)])


@reads("ELU", masking="keep")
def elu(c: LayerCall) -> ir.Value:
    """Exponential linear unit."""
    return c.op("Elu", [c.x], {"alpha": float(c.get("alpha", 1.0))})


@reads("ThresholdedReLU", masking="keep")
def thresholded_relu(c: LayerCall) -> ir.Value:
    """x where x > theta, else 0."""
    return c.op("ThresholdedRelu", [c.x], {"alpha": float(c.get("theta", 1.0))})


@reads("Softmax", masking="use")
def softmax(c: LayerCall) -> ir.Value:
    """Over one axis; several axes are flattened first."""
    c.refuse_mask()
    if len(c.tensors) > 1 or any(isinstance(v, ir.Value) for v in c.kwargs.values()):
        raise c.refuse("a mask given as a tensor")
    axis = c.get("axis", -1)
    axes = sorted(a % c.rank for a in (axis if isinstance(axis, list) else [axis]))
    if len(axes) == 1:
        return c.op("Softmax", [c.x], {"axis": axes[0]})
    over = c.const(axes)
    shifted = c.op("Sub", [c.x, c.op("ReduceMax", [c.x, over], {"keepdims": 1})])
    power = c.op("Exp", [shifted])
    return c.op("Div", [power, c.op("ReduceSum", [power, over], {"keepdims": 1})])


@reads("Rescaling")
def rescaling(c: LayerCall) -> ir.Value:
    """x · scale + offset."""
    x = c.x
    if x.dtype != c.compute:
        x = c.op("Cast", [x], {"to": int(c.compute)})
    given = [c.layer.config.get(key, n) for key, n in (("scale", 1.0), ("offset", 0.0))]
    scale, offset = (np.asarray(n, np.float32) for n in given)  # whatever the layer computes in
    y = c.op("Mul", [x, c.const(scale.astype(c.compute.numpy()))])
    return c.op("Add", [y, c.const(offset.astype(c.compute.numpy()))])

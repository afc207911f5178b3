"""TensorFlow operators with asymmetric prime sizes: what must be read exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from .tf_judge import Case

_RNG = np.random.default_rng(20231)


def _array(*shape: int) -> np.ndarray:
    return _RNG.uniform(-1, 1, shape).astype(np.float32)


def _raw(name: str, **attributes: Any) -> Any:
    """An operator by its own name; ``_`` inputs come in order."""

    def function(*given: Any) -> Any:
        import tensorflow as tf

        op = getattr(tf.raw_ops, name)
        names = _INPUTS.get(name, ("x",) if len(given) == 1 else ("x", "y"))
        return op(**dict(zip(names, given, strict=True)), **attributes)

    return function


_INPUTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Relu", "Relu6", "Elu", "Selu", "Softplus", "Softsign", "LeakyRelu"), ("features",)),
    **dict.fromkeys(("Softmax", "LogSoftmax"), ("logits",)),
    **dict.fromkeys(("Mean", "Sum", "Max", "Min", "Prod", "Any", "All", "EuclideanNorm"), ("input",)),
    **dict.fromkeys(("ArgMax", "ArgMin", "TopKV2", "LRN", "DepthToSpace", "SpaceToDepth"), ("input",)),
    **dict.fromkeys(("AvgPool",), ("value",)),
    **dict.fromkeys(("MaxPool", "MaxPool3D", "AvgPool3D"), ("input",)),
    **dict.fromkeys(("Select",), ("condition", "x", "y")),
    "SelectV2": ("condition", "t", "e"),
    "L2Loss": ("t",),
    "Identity": ("input",),
    "ClipByValue": ("t", "clip_value_min", "clip_value_max"),
    "BiasAdd": ("value", "bias"),
    "MatMul": ("a", "b"),
    "Invert": ("x",),
}
_UNARY = (
    *("Abs", "Atan", "Asinh", "Ceil", "Cos", "Cosh", "Elu", "Erf", "Erfc", "Exp", "Expm1", "Floor", "IsFinite"),
    *("IsInf", "IsNan", "Neg", "Relu", "Relu6", "Rint", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus"),
    *("Softsign", "Square", "Tan", "Tanh", "ZerosLike", "OnesLike", "Softmax", "LogSoftmax", "L2Loss"),
)
_POSITIVE = ("Acosh", "Log", "Log1p", "Reciprocal", "Rsqrt", "Sqrt", "Inv")
_UNIT = ("Acos", "Asin", "Atanh")
_BINARY = (
    *("Add", "AddV2", "Sub", "Mul", "Maximum", "Minimum", "SquaredDifference", "Less", "LessEqual", "Greater"),
    *("GreaterEqual", "Equal", "NotEqual", "DivNoNan", "MulNoNan", "Xdivy", "Atan2"),
)
_DIVISIONS = ("Div", "RealDiv", "FloorDiv", "FloorMod", "TruncateMod", "Pow", "Xlogy", "Xlog1py")
_INTEGER = ("FloorDiv", "FloorMod", "TruncateDiv", "TruncateMod", "Div", "Maximum", "Equal", "BitwiseAnd", "BitwiseOr")

CASES: dict[str, Case] = {}
CASES |= {f"{n}-unary": Case(_raw(n), [(2, 5, 3)], ops=[n]) for n in _UNARY}
CASES |= {f"{n}-positive": Case(_raw(n), [(2, 5, 3)], low=1.1, high=4, ops=[n]) for n in _POSITIVE}
CASES |= {f"{n}-unit": Case(_raw(n), [(2, 5, 3)], low=-0.9, high=0.9, ops=[n]) for n in _UNIT}
CASES |= {f"{n}-binary": Case(_raw(n), [(2, 5, 3), (5, 1)], ops=[n]) for n in _BINARY}
CASES |= {f"{n}-division": Case(_raw(n), [(2, 5, 3), (5, 1)], low=0.5, high=4, ops=[n]) for n in _DIVISIONS}
CASES |= {
    f"{n}-signs": Case(lambda x, y, n=n: _raw(n)(x, y + 0.5), [(7, 11), (7, 11)])
    for n in ("FloorMod", "FloorDiv", "TruncateMod")
}
CASES |= {
    f"{n}-int": Case(
        lambda x, y, n=n: _raw(n)(x, y * 2 + 1), [(5, 7), (7,)], ["int32", "int32"], low=-9, high=9, ops=[n]
    )
    for n in _INTEGER
}
CASES |= {
    f"{n}-bool": Case(_raw(n), [(2, 5), (5,)], ["bool", "bool"], ops=[n]) for n in ("LogicalAnd", "LogicalOr")
} | {"LogicalNot-bool": Case(_raw("LogicalNot"), [(2, 5)], ["bool"], ops=["LogicalNot"])}
CASES |= {
    "LeakyRelu-alpha": Case(_raw("LeakyRelu", alpha=0.3), [(2, 5)], ops=["LeakyRelu"]),
    "BitwiseXor-uint8": Case(_raw("BitwiseXor"), [(5, 7), (7,)], ["uint8", "uint8"], 0, 250, ["BitwiseXor"]),
    "Invert-int": Case(_raw("Invert"), [(5, 7)], ["int32"], -90, 90, ["Invert"]),
    "RightShift-uint8": Case(
        lambda x, y: _raw("RightShift")(x, y % 7), [(5, 7), (7,)], ["uint8"] * 2, 0, 250, ["RightShift"]
    ),
    "LeftShift-uint32": Case(
        lambda x, y: _raw("LeftShift")(x, y % 7), [(5, 7), (7,)], ["uint32"] * 2, 0, 250, ["LeftShift"]
    ),
    "ClipByValue-scalars": Case(lambda x: _raw("ClipByValue")(x, -0.5, 0.7), [(2, 5)], ops=["ClipByValue"]),
    "Select-vector": Case(_raw("Select"), [(5,), (5, 3), (5, 3)], ["bool"], ops=["Select"]),
    "SelectV2-broadcast": Case(_raw("SelectV2"), [(5, 1), (2, 1, 3), (5, 3)], ["bool"], ops=["SelectV2"]),
    "ApproximateEqual-tolerance": Case(
        _raw("ApproximateEqual", tolerance=1.0), [(5, 7), (5, 7)], ops=["ApproximateEqual"]
    ),
}


def _tf(build: Any) -> Any:
    """A function that gets TensorFlow as its first argument."""

    def function(*given: Any) -> Any:
        import tensorflow as tf

        return build(tf, *given)

    return function


def _add(name: str, build: Any, *shapes: tuple[int | None, ...], **options: Any) -> None:
    assert name not in CASES
    CASES[name] = Case(_tf(build), shapes, **options)


_X4 = (2, 5, 7, 3)
for _n in ("Mean", "Sum", "Max", "Min", "Prod", "EuclideanNorm"):
    CASES[f"{_n}-axes"] = Case(_raw(_n, axis=[1, -1], keep_dims=False), [_X4], ops=[_n])
    CASES[f"{_n}-keep"] = Case(_raw(_n, axis=2, keep_dims=True), [_X4], ops=[_n])
for _n in ("Any", "All"):
    CASES[f"{_n}-axes"] = Case(_raw(_n, axis=[0, 2]), [(2, 5, 3)], ["bool"], ops=[_n])
for _n in ("ArgMax", "ArgMin"):
    CASES[f"{_n}-axis"] = Case(_raw(_n, dimension=1), [(2, 5, 3)], ops=[_n])
_add("ArgMax-int32", lambda tf, x: tf.argmax(x, -1, output_type=tf.int32), (2, 5, 3), ops=["ArgMax"])
_add("TopKV2-k", lambda tf, x: list(tf.math.top_k(x, 3)), (2, 7), ops=["TopKV2"])
_add("InTopKV2-k", lambda tf, x, y: tf.math.in_top_k(y, x, 2), (5, 7), (5,), dtypes=["float32", "int32"], low=0)
_add("Cumsum-exclusive", lambda tf, x: tf.cumsum(x, 1, exclusive=True, reverse=True), (2, 5, 3), ops=["Cumsum"])
_add("Cumprod-reverse", lambda tf, x: tf.math.cumprod(x, 1, reverse=True), (2, 5, 3), ops=["Cumprod"])
_add("Cumprod-exclusive", lambda tf, x: tf.math.cumprod(x, -1, exclusive=True), (2, 5, 3), ops=["Cumprod"])
_add("Unique-values", lambda tf, x: list(tf.unique(x)), (13,), dtypes=["int32"], ops=["Unique"])
_add("Bincount-weights", lambda tf, x, w: tf.raw_ops.DenseBincount(input=x, size=5, weights=w), (13,), (13,),
     dtypes=["int32", "float32"], low=0, high=7, ops=["DenseBincount"])  # fmt: skip
_add("logsumexp-composite", lambda tf, x: tf.reduce_logsumexp(x, [1]), (2, 5, 3))
_add("moments-composite", lambda tf, x: list(tf.nn.moments(x, [1, 2])), _X4)
_add("l2_normalize-composite", lambda tf, x: tf.nn.l2_normalize(x, -1), _X4)
_add("gelu-composite", lambda tf, x: tf.nn.gelu(x, approximate=True), (2, 5))
_add("swish-composite", lambda tf, x: tf.nn.silu(x), (2, 5))

# shapes
_add("Reshape-constant", lambda tf, x: tf.reshape(x, [-1, 15]), _X4[:3] + (3,), ops=["Reshape"])
_add("Reshape-shape", lambda tf, x: tf.reshape(x, [tf.shape(x)[0], -1]), (None, 5, 3), ops=["Reshape", "Shape"])
_add("Reshape-swap", lambda tf, x: tf.reshape(x, tf.stack([tf.shape(x)[1], tf.shape(x)[0], 3])), (None, 5, 3))
_add("Squeeze-axis", lambda tf, x: tf.squeeze(x, [1, -1]), (2, 1, 3, 1), ops=["Squeeze"])
_add("Squeeze-all", lambda tf, x: tf.squeeze(x), (2, 1, 3, 1), ops=["Squeeze"])
_add("ExpandDims-axis", lambda tf, x: tf.expand_dims(x, -2), (2, 3), ops=["ExpandDims"])
_add("Transpose-perm", lambda tf, x: tf.transpose(x, [2, 0, 3, 1]), _X4, ops=["Transpose"])
_add("Shape-dynamic", lambda tf, x: [tf.shape(x), tf.shape(x, out_type=tf.int64)], (None, 5))
_add("ShapeN-two", lambda tf, x, y: list(tf.shape_n([x, y])), (None, 5), (None, 3), ops=["ShapeN"])
_add("Size-dynamic", lambda tf, x: tf.size(x) + tf.rank(x), (None, 5), ops=["Size"])
_add("Pack-axis", lambda tf, x, y: tf.stack([x, y], 1), (2, 5), (2, 5), ops=["Pack"])
_add("Unpack-axis", lambda tf, x: tf.unstack(x, axis=1), (2, 3, 5), ops=["Unpack"])
_add("ConcatV2-axis", lambda tf, x, y: tf.concat([x, y, x], -1), (2, 5), (2, 3), ops=["ConcatV2"])
_add("Concat-old", lambda tf, x, y: tf.raw_ops.Concat(concat_dim=1, values=[x, y]), (2, 5), (2, 3), ops=["Concat"])
_add("Split-equal", lambda tf, x: tf.split(x, 3, 1), (2, 9), ops=["Split"])
_add("SplitV-sizes", lambda tf, x: tf.split(x, [2, -1, 3], 1), (2, 11), ops=["SplitV"])
_add("Tile-constant", lambda tf, x: tf.tile(x, [2, 1, 3]), (2, 5, 3), ops=["Tile"])
_add("Tile-computed", lambda tf, x: tf.tile(x, [tf.shape(x)[0], 1]), (None, 5), ops=["Tile"])
_add("BroadcastTo-shape", lambda tf, x: tf.broadcast_to(x, [2, 5, 3]), (5, 1), ops=["BroadcastTo"])
_add("BroadcastArgs-dynamic", lambda tf, x, y: tf.broadcast_to(x, tf.broadcast_dynamic_shape(tf.shape(x), tf.shape(y))),
     (None, 1), (None, 5))  # fmt: skip
_add("Fill-computed", lambda tf, x: tf.fill([tf.shape(x)[0], 3], 2.5) + x, (None, 1), ops=["Fill"])
_add("Range-computed", lambda tf, x: tf.range(tf.shape(x)[0]) * 2, (None, 2), ops=["Range"])
_add("Range-float", lambda tf, x: x + tf.range(0.0, 1.0, 0.2), (3, 5))
_add("LinSpace-constant", lambda tf, x: x * tf.linspace(-1.0, 2.0, 7), (3, 7))
_add("EnsureShape-same", lambda tf, x: tf.ensure_shape(x, (None, 5)) + 1.0, (None, 5), ops=["EnsureShape"])
_add("StopGradient-same", lambda tf, x: tf.stop_gradient(x) * 2.0, (2, 5), ops=["StopGradient"])
_add("Cast-types", lambda tf, x: [tf.cast(x, t) for t in (tf.int32, tf.int64, tf.bool, tf.float64, tf.float16)], (2, 5),
     ops=["Cast"])  # fmt: skip
_add("Identity-n", lambda tf, x, y: tf.identity_n([x, y]), (2, 5), (3,), ops=["IdentityN"])
_add("AddN-three", lambda tf, x, y: tf.add_n([x, y, x]), (2, 5), (2, 5), ops=["AddN"])
_add("AddN-int", lambda tf, x, y: tf.add_n([x, y, x]), (2, 5), (2, 5), dtypes=["int32"] * 2, ops=["AddN"])

# picking
_add("Slice-constant", lambda tf, x: tf.slice(x, [0, 1, 2], [-1, 3, 1]), (2, 5, 7), ops=["Slice"])
_add("Slice-computed", lambda tf, x: tf.slice(x, [tf.shape(x)[0] - 1, 1], [1, -1]), (None, 5), ops=["Slice"])
_add("StridedSlice-masks", lambda tf, x: x[1:, ..., tf.newaxis, ::2, -1], (5, 7, 3, 11), ops=["StridedSlice"])
_add("StridedSlice-negative", lambda tf, x: x[::-2, 4:1:-1], (5, 7), ops=["StridedSlice"])
_add("StridedSlice-shrink", lambda tf, x: x[-1, :, 2], (5, 7, 3), ops=["StridedSlice"])
_add("StridedSlice-computed", lambda tf, x: x[: tf.shape(x)[0] // 2, 1], (None, 7), ops=["StridedSlice"])
_add("StridedSlice-begin", lambda tf, x: x[:, tf.shape(x)[0] - 2 :], (None, 7), ops=["StridedSlice"])
_add("StridedSlice-last", lambda tf, x: x[tf.shape(x)[0] - 1], (None, 7), ops=["StridedSlice"])
_add("GatherV2-axis", lambda tf, x: tf.gather(x, [2, 0, 4, 4], axis=1), (2, 5, 3), ops=["GatherV2"])
_add("GatherV2-batch", lambda tf, x, i: tf.gather(x, i, batch_dims=1), (2, 5, 3), (2, 7), dtypes=["float32", "int32"],
     low=0, ops=["GatherV2"])  # fmt: skip
_add("Gather-old", lambda tf, x, i: tf.raw_ops.Gather(params=x, indices=i), (5, 3), (2, 7), dtypes=["float32", "int32"],
     low=0, ops=["Gather"])  # fmt: skip
_add("GatherNd-pairs", lambda tf, x, i: tf.gather_nd(x, i), (5, 4, 3), (7, 2), dtypes=["float32", "int32"], low=0,
     ops=["GatherNd"])  # fmt: skip
_add("ScatterNd-add", lambda tf, i, x: tf.scatter_nd(i, x, [5, 3]), (7, 1), (7, 3), dtypes=["int32"], low=0,
     ops=["ScatterNd"])  # fmt: skip
_add("TensorScatterAdd-rows", lambda tf, x, i, u: tf.tensor_scatter_nd_add(x, i, u), (5, 3), (7, 1), (7, 3),
     dtypes=["float32", "int32"], low=0, ops=["TensorScatterAdd"])  # fmt: skip
_add("TensorScatterSub-rows", lambda tf, x, i, u: tf.tensor_scatter_nd_sub(x, i, u), (5, 3), (7, 1), (7, 3),
     dtypes=["float32", "int32"], low=0, ops=["TensorScatterSub"])  # fmt: skip
_add("TensorScatterMax-rows", lambda tf, x, i, u: tf.tensor_scatter_nd_max(x, i, u), (5, 3), (7, 1), (7, 3),
     dtypes=["float32", "int32"], low=0, ops=["TensorScatterMax"])  # fmt: skip
_add("TensorScatterMin-rows", lambda tf, x, i, u: tf.tensor_scatter_nd_min(x, i, u), (5, 3), (7, 1), (7, 3),
     dtypes=["float32", "int32"], low=0, ops=["TensorScatterMin"])  # fmt: skip
_add("TensorScatterUpdate-rows", lambda tf, x, u: tf.tensor_scatter_nd_update(x, [[3], [0]], u), (5, 3), (2, 3),
     ops=["TensorScatterUpdate"])  # fmt: skip
_add("UnsortedSegmentSum-rows", lambda tf, x, i: tf.math.unsorted_segment_sum(x, i, 4), (7, 3), (7,),
     dtypes=["float32", "int32"], low=0, ops=["UnsortedSegmentSum"])  # fmt: skip
_add("SegmentSum-constant", lambda tf, x: tf.math.segment_sum(x, [0, 0, 1, 3, 3]), (5, 3), ops=["SegmentSum"])
_add("Pad-constant", lambda tf, x: tf.pad(x, [[1, 0], [2, 3]]), (2, 5), ops=["Pad"])
_add("PadV2-value", lambda tf, x: tf.pad(x, [[1, 0], [2, 3]], constant_values=2.5), (2, 5), ops=["PadV2"])
_add("MirrorPad-reflect", lambda tf, x: tf.pad(x, [[1, 0], [2, 3]], "REFLECT"), (2, 5), ops=["MirrorPad"])
_add("MirrorPad-symmetric", lambda tf, x: tf.pad(x, [[1, 0], [2, 3]], "SYMMETRIC"), (2, 5), ops=["MirrorPad"])
_add("ReverseV2-axes", lambda tf, x: tf.reverse(x, [0, -1]), (2, 5, 3), ops=["ReverseV2"])
_add("ReverseSequence-lengths", lambda tf, x: tf.reverse_sequence(x, [2, 5], seq_axis=1, batch_axis=0), (2, 5, 3),
     ops=["ReverseSequence"])  # fmt: skip
_add("Roll-axes", lambda tf, x: tf.roll(x, [2, -1], [1, 0]), (3, 5), ops=["Roll"])
_add("Where-coordinates", lambda tf, x: tf.where(x > 0), (3, 5), ops=["Where"])
_add("boolean_mask-composite", lambda tf, x: tf.boolean_mask(x, x[:, 0] > 0), (7, 5))
_add("OneHot-axis", lambda tf, x: tf.one_hot(x, 5, on_value=2.0, off_value=-1.0, axis=1), (2, 7), dtypes=["int32"],
     low=-1, high=6, ops=["OneHot"])  # fmt: skip
_add("MatrixBandPart-band", lambda tf, x: tf.linalg.band_part(x, 1, 2), (2, 7, 5), ops=["MatrixBandPart"])
_add("MatrixBandPart-lower", lambda tf, x: tf.linalg.band_part(x, -1, 0), (2, 7, 5), ops=["MatrixBandPart"])
_add("NonMaxSuppressionV3-boxes", lambda tf, x, s: tf.image.non_max_suppression(tf.abs(x), s, 4, 0.3, 0.1), (11, 4),
     (11,), ops=["NonMaxSuppressionV3"])  # fmt: skip

# matrix products
_W = _array(5, 7)
_add("MatMul-constant", lambda tf, x: tf.matmul(x, _W) + _W[0], (None, 5), ops=["MatMul"])
_add("MatMul-bias", lambda tf, x: tf.nn.bias_add(tf.matmul(x, _W.T, transpose_b=True), _W[0]), (None, 5),
     ops=["BiasAdd"])  # fmt: skip
_add("MatMul-turned", lambda tf, x, y: tf.matmul(x, y, transpose_a=True, transpose_b=True), (3, 5), (7, 3))
_add("BatchMatMulV2-adjoint", lambda tf, x, y: tf.matmul(x, y, adjoint_b=True), (2, 3, 5), (1, 7, 5),
     ops=["BatchMatMulV2"])  # fmt: skip
_add("BatchMatMulV2-constant", lambda tf, x: tf.matmul(x, _W), (None, 3, 5), ops=["BatchMatMulV2"])
_add("Tensordot-composite", lambda tf, x: tf.tensordot(x, _W, 1), (None, 3, 5))
_add("Einsum-attention", lambda tf, x, y: tf.einsum("bthd,bshd->bhts", x, y), (2, 3, 5, 7), (2, 11, 5, 7),
     ops=["Einsum"])  # fmt: skip
_add("BiasAdd-nchw", lambda tf, x: tf.nn.bias_add(x, _W[:, 0], data_format="NCHW"), (2, 5, 7, 3), ops=["BiasAdd"])

# simulated quantisation
_add("FakeQuantWithMinMaxArgs-range", lambda tf, x: tf.quantization.fake_quant_with_min_max_args(x, -1.3, 2.1), (7, 11),
     ops=["FakeQuantWithMinMaxArgs"])  # fmt: skip
_add("FakeQuantWithMinMaxVars-narrow", lambda tf, x: tf.quantization.fake_quant_with_min_max_vars(x, -1.3, 2.1,
     narrow_range=True), (7, 11), ops=["FakeQuantWithMinMaxVars"])  # fmt: skip
_add("FakeQuantWithMinMaxVars-bits", lambda tf, x: tf.quantization.fake_quant_with_min_max_vars(x, -1.3, 2.1, 5),
     (7, 11), ops=["FakeQuantWithMinMaxVars"])  # fmt: skip
_add("FakeQuantWithMinMaxVarsPerChannel-three", lambda tf, x: tf.quantization.fake_quant_with_min_max_vars_per_channel(
     x, [-1.3, -0.2, -2.0], [2.1, 0.7, 0.0]), (7, 3), ops=["FakeQuantWithMinMaxVarsPerChannel"])  # fmt: skip

# more of the same families, by other ways to write them
_add("LogicalXor-composite", lambda tf, x, y: tf.math.logical_xor(x, y), (2, 5), (5,), dtypes=["bool"] * 2)
_add("AccumulateNV2-two", lambda tf, x, y: tf.raw_ops.AccumulateNV2(inputs=[x, y], shape=[2, 5]), (2, 5), (2, 5),
     ops=["AccumulateNV2"])  # fmt: skip
_add("InvertPermutation-constant", lambda tf, x: tf.transpose(x, tf.math.invert_permutation([2, 0, 1])), (2, 5, 3))
_add("Reverse-old", lambda tf, x: tf.raw_ops.Reverse(tensor=x, dims=[True, False]), (2, 5), ops=["Reverse"])
_add("BatchMatMul-old", lambda tf, x, y: tf.raw_ops.BatchMatMul(x=x, y=y, adj_x=True), (2, 5, 3), (2, 5, 7),
     ops=["BatchMatMul"])  # fmt: skip
_add("BiasAddV1-old", lambda tf, x: tf.raw_ops.BiasAddV1(value=x, bias=_W[0]), (2, 7), ops=["BiasAddV1"])
_add("Snapshot-same", lambda tf, x: tf.raw_ops.Snapshot(input=x) * 2.0, (2, 5), ops=["Snapshot"])
_add("CheckNumerics-same", lambda tf, x: tf.debugging.check_numerics(x, "no") * 2.0, (2, 5), ops=["CheckNumerics"])
_add("PreventGradient-same", lambda tf, x: tf.raw_ops.PreventGradient(input=x) * 2.0, (2, 5), ops=["PreventGradient"])

"""The catalogue's second half: shapes, indices, reductions, normalisation, images."""

from __future__ import annotations

import numpy as np
from tflite_catalogue import I64, B, case, f, x
from tflite_graphs import image

case("reshape-keep-batch", lambda b, r: b.op("Reshape", [x(b, "batch", 5, 7), b.const([0, -1])]))
case("reshape-split", lambda b, r: b.op("Reshape", [x(b, "batch", 35), b.const([-1, 7, 5])]))
case("reshape-two-unknown", lambda b, r: b.op("Reshape", [x(b, "batch", "time", 6), b.const([0, 0, 2, 3])]))
case("flatten-axis1", lambda b, r: b.op("Flatten", [x(b, "batch", 5, 7)], {"axis": 1}))
case("squeeze-axes", lambda b, r: b.op("Squeeze", [x(b, "batch", 1, 7, 1), b.const([1, 3])]))
case("unsqueeze-axes", lambda b, r: b.op("Unsqueeze", [x(b, "batch", 7), b.const([0, 3])]))
case("unsqueeze-two-unknown", lambda b, r: b.op("Unsqueeze", [x(b, "batch", "time", 7), b.const([1, 4])]))
case("squeeze-two-unknown", lambda b, r: b.op("Squeeze", [x(b, "batch", 1, "time", 7), b.const([1])]))
case("transpose-4d", lambda b, r: b.op("Transpose", [x(b, "batch", 3, 5, 7)], {"perm": [0, 3, 1, 2]}))
case("transpose-5d", lambda b, r: b.op("Transpose", [x(b, 2, 3, 5, 7, 2)], {"perm": [4, 2, 0, 3, 1]}))
case("transpose-ones", lambda b, r: b.op("Transpose", [x(b, "batch", 1, 5, 1)], {"perm": [0, 3, 1, 2]}))
case("concat-two", lambda b, r: b.op("Concat", [x(b, "batch", 3, 5), x(b, "batch", 2, 5, name="y")], {"axis": 1}))
case(
    "concat-negative-constant",
    lambda b, r: b.op("Concat", [x(b, 2, 3, 5), b.weight("w", f(r, 2, 3, 2))], {"axis": -1}),
)
case("concat-relu", lambda b, r: b.op("Relu", [b.op("Concat", [x(b, 2, 3), x(b, 2, 5, name="y")], {"axis": 1})]))
case("split-equal", lambda b, r: list(b.node("Split", [x(b, "batch", 6, 5)], {"axis": 1, "num_outputs": 3}, 3)))
case("split-sizes", lambda b, r: list(b.node("Split", [x(b, 2, 7, 5), b.const([1, 4, 2])], {"axis": 1}, 3)))
for name, (starts, ends, axes, steps) in {
    "plain": ([1, 2], [4, 6], [1, 2], [1, 1]),
    "step": ([0, 1], [5, 7], [1, 2], [2, 3]),
    "negative": ([-3, -4], [-1, 2**62], [1, 2], [1, 1]),
    "reverse": ([-1], [-(2**62)], [2], [-1]),
    "reverse-part": ([5, 4], [1, 0], [2, 1], [-2, -1]),
    "batch": ([1], [2**62], [0], [1]),
    "batch-step": ([0], [2**62], [0], [2]),
}.items():
    case(
        f"slice-{name}",
        lambda b, r, a=(starts, ends, axes, steps): b.op("Slice", [x(b, "batch", 5, 7), *[b.const(v) for v in a]]),
    )
case("gather-rows", lambda b, r: b.op("Gather", [b.weight("w", f(r, 11, 5)), x(b, "batch", 3, dtype=I64)], {"axis": 0}))
case(
    "gather-negative",
    lambda b, r: b.op(
        "Gather", [b.weight("w", f(r, 23, 5)), b.op("Sub", [x(b, "batch", 3, dtype=I64), b.const(5)])], {"axis": 0}
    ),
)
case("gather-axis1", lambda b, r: b.op("Gather", [x(b, 2, 5, 7), b.const([[3, 1], [-1, 0]])], {"axis": 1}))
case("gather-scalar", lambda b, r: b.op("Gather", [x(b, "batch", 5, 7), b.const(-2)], {"axis": 1}))
case("gathernd-constant", lambda b, r: b.op("GatherND", [x(b, 2, 5, 7), b.const([[1, 3], [0, 2]])]))
case("gatherelements-axis", lambda b, r: b.op(
    "GatherElements", [x(b, 11, 5, 7), x(b, 3, 5, 2, dtype=I64, name="i")], {"axis": 0}))  # fmt: skip
case("gatherelements-constant", lambda b, r: b.op(
    "GatherElements", [x(b, 5, 7), b.const([[3, -1], [0, 2]])], {"axis": 1}))  # fmt: skip
case("layernormalization-inputs", lambda b, r: b.op(
    "LayerNormalization", [x(b, 2, 5, 7), x(b, 7, name="s"), x(b, 7, name="c")]))  # fmt: skip
case("expand-shape", lambda b, r: b.op("Expand", [x(b, 3, 1), b.const([2, 3, 5])]))
case("tile-repeats", lambda b, r: b.op("Tile", [x(b, "batch", 3), b.const([2, 3])]))
case("pad-constant", lambda b, r: b.op("Pad", [x(b, "batch", 5, 7), b.const([0, 1, 2, 0, 3, 0])]))
case("pad-value", lambda b, r: b.op("Pad", [x(b, 2, 5, 7), b.const([0, 1, 2, 1, 3, 0]), b.const(0.5)]))
case("pad-axes", lambda b, r: b.op("Pad", [x(b, 2, 5, 7), b.const([1, 2]), None, b.const([-1])]))
case("pad-reflect", lambda b, r: b.op("Pad", [x(b, 2, 5, 7), b.const([0, 1, 2, 0, 3, 0])], {"mode": "reflect"}))
case("onehot-last", lambda b, r: b.op("OneHot", [x(b, 2, 3, dtype=I64), b.const(11), b.const([0.0, 1.0])]))
case("onehot-axis", lambda b, r: b.op("OneHot", [x(b, 2, 3, dtype=I64), b.const(11), b.const([2.0, 5.0])], {"axis": 1}))
case("shape-all", lambda b, r: b.op("Shape", [x(b, "batch", 5, 7)]))
case("shape-part", lambda b, r: b.op("Shape", [x(b, "batch", 5, 7)], {"start": -2, "end": 3}))
case("nonzero-float", lambda b, r: b.op("NonZero", [b.op("Round", [x(b, 5, 7)])]))
case("trilu-upper", lambda b, r: b.op("Trilu", [x(b, "batch", 5, 7), b.const(1)], {"upper": 1}))
case("trilu-lower", lambda b, r: b.op("Trilu", [x(b, 2, 5, 7)], {"upper": 0}))
case("cumsum-plain", lambda b, r: b.op("CumSum", [x(b, 2, 5, 7), b.const(1)]))
case("cumsum-reverse", lambda b, r: b.op("CumSum", [x(b, 2, 5, 7), b.const(-1)], {"exclusive": 1, "reverse": 1}))
for op in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
           "ReduceSumSquare", "ReduceLogSumExp"):  # fmt: skip
    case(f"{op.lower()}-keep", lambda b, r, op=op: b.op(op, [x(b, "batch", 5, 7, 3), b.const([1, -1])]))
    case(f"{op.lower()}-drop", lambda b, r, op=op: b.op(op, [x(b, "batch", 5, 7), b.const([1])], {"keepdims": 0}))
    case(f"{op.lower()}-all", lambda b, r, op=op: b.op(op, [x(b, 2, 5, 7)], {"keepdims": 0}))
case("reducelogsum-keep", lambda b, r: b.op("ReduceLogSum", [b.op("Exp", [x(b, 2, 5)]), b.const([1])]))
for op in ("ArgMax", "ArgMin"):
    case(f"{op.lower()}-drop", lambda b, r, op=op: b.op(op, [x(b, "batch", 5, 7)], {"axis": 1, "keepdims": 0}))
    case(f"{op.lower()}-keep", lambda b, r, op=op: b.op(op, [x(b, "batch", 5, 7)], {"axis": -1}))
case("topk-last", lambda b, r: list(b.node("TopK", [x(b, "batch", 11), b.const([3])], {"axis": -1}, 2)))
case("topk-axis", lambda b, r: list(b.node("TopK", [x(b, 2, 11, 3), b.const([4])], {"axis": 1}, 2)))
case("layernormalization-last", lambda b, r: b.op(
    "LayerNormalization", [x(b, "batch", 5, 7), b.weight("s", f(r, 7)), b.weight("b", f(r, 7))]))  # fmt: skip
case("layernormalization-two-axes", lambda b, r: b.op(
    "LayerNormalization", [x(b, 2, 5, 7), b.weight("s", f(r, 5, 7))], {"axis": 1, "epsilon": 1e-3}))  # fmt: skip
case("rmsnormalization-last", lambda b, r: b.op("RMSNormalization", [x(b, 2, 5, 7), b.weight("s", f(r, 7))]))
case("lpnormalization-l2", lambda b, r: b.op("LpNormalization", [x(b, 2, 5, 7)], {"axis": 1, "p": 2}))
case("lpnormalization-l1", lambda b, r: b.op("LpNormalization", [x(b, 2, 5, 7)], {"axis": -1, "p": 1}))
case("instancenormalization-2d", lambda b, r: image(
    b, "InstanceNormalization", [x(b, "batch", 5, 7, 3), b.weight("s", f(r, 3)), b.weight("b", f(r, 3))]))  # fmt: skip
case("groupnormalization-2d", lambda b, r: image(
    b, "GroupNormalization", [x(b, "batch", 5, 7, 6), b.weight("s", f(r, 6)), b.weight("b", f(r, 6))],
    {"num_groups": 3}))  # fmt: skip
case("batchnormalization-2d", lambda b, r: image(b, "BatchNormalization", [
    x(b, "batch", 5, 7, 3), *[b.weight(n, np.abs(f(r, 3)) + 0.1) for n in "sbmv"]], {"epsilon": 1e-3}))  # fmt: skip
case("batchnormalization-flat", lambda b, r: b.op("BatchNormalization", [
    x(b, "batch", 3), *[b.weight(n, np.abs(f(r, 3)) + 0.1) for n in "sbmv"]]))  # fmt: skip
case("lrn-odd", lambda b, r: image(b, "LRN", [x(b, 2, 5, 7, 11)], {"size": 5, "alpha": 0.1, "bias": 2.0}))
for mode in ("DCR", "CRD"):
    case(
        f"depthtospace-{mode.lower()}",
        lambda b, r, m=mode: image(b, "DepthToSpace", [x(b, "batch", 3, 5, 12)], {"blocksize": 2, "mode": m}),
    )
case("spacetodepth-2", lambda b, r: image(b, "SpaceToDepth", [x(b, 2, 4, 6, 3)], {"blocksize": 2}))
for mode in ("nearest", "linear"):
    for way in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
        for name, size in {"up": (10, 14), "odd": (13, 11), "down": (3, 4)}.items():
            case(
                f"resize-{mode}-{way}-{name}",
                lambda b, r, m=mode, w=way, s=size: b.op(
                    "Resize",
                    [x(b, 2, 5, 7, 3), None, None, b.const([2, *s, 3])],
                    {"mode": m, "coordinate_transformation_mode": w},
                ),
            )
for way in ("floor", "ceil", "round_prefer_ceil"):
    case(
        f"resize-nearest-{way}",
        lambda b, r, w=way: b.op(
            "Resize",
            [x(b, "batch", 5, 7, 3), None, b.const([1.0, 2.0, 3.0, 1.0])],
            {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": w},
        ),
    )
case("resize-cubic-channels-first", lambda b, r: b.op(
    "Resize", [x(b, "batch", 3, 5, 7), None, b.const([1.0, 1.0, 2.0, 1.5])], {"mode": "cubic"}))  # fmt: skip
case("resize-cubic-antialias", lambda b, r: b.op(
    "Resize", [x(b, 2, 3, 11, 7), None, b.const([1.0, 1.0, 0.5, 0.5])], {"mode": "cubic", "antialias": 1}))  # fmt: skip
case("resize-linear-antialias", lambda b, r: b.op(
    "Resize", [x(b, 2, 3, 11, 7), None, b.const([1.0, 1.0, 0.5, 0.5])], {"mode": "linear", "antialias": 1}))  # fmt: skip # noqa: E501
case("resize-linear-scales-inexact", lambda b, r: b.op(
    "Resize", [x(b, 2, 5, 7, 3), None, b.const([1.0, 1.7, 0.6, 1.0])], {"mode": "linear"}))  # fmt: skip
case("resize-channels-first", lambda b, r: b.op(
    "Resize", [x(b, 2, 3, 5, 7), None, b.const([1.0, 1.0, 2.0, 2.0])], {"mode": "linear"}))  # fmt: skip
case("resize-1d", lambda b, r: b.op("Resize", [x(b, 2, 5, 3), None, b.const([1.0, 2.0, 1.0])], {"mode": "nearest"}))
for name, (equation, *shapes) in {
    "matmul": ("ij,jk->ik", (3, 5), (5, 7)),
    "batched": ("bij,bjk->bik", (2, 3, 5), (2, 5, 7)),
    "heads": ("bqhd,bkhd->bhqk", (2, 3, 5, 7), (2, 11, 5, 7)),
    "values": ("bhqk,bkhd->bqhd", (2, 5, 3, 11), (2, 11, 5, 7)),
    "dense": ("abc,cde->abde", (2, 3, 5), (5, 7, 2)),
    "sum": ("ijk->ik", (2, 3, 5)),
    "transpose": ("ij->ji", (2, 3)),
    "outer": ("i,j->ij", (3,), (5,)),
}.items():
    case(
        f"einsum-{name}",
        lambda b, r, e=equation, s=shapes: b.op(
            "Einsum", [x(b, *shape, name=f"x{i}") for i, shape in enumerate(s)], {"equation": e}
        ),
    )
case("identity-input-output", lambda b, r: b.op("Identity", [x(b, "batch", 5)]))
case("where-int64", lambda b, r: b.op(
    "Where", [x(b, 2, 3, dtype=B, name="c"), x(b, 2, 3, dtype=I64), b.const(np.array([7], np.int64))]))  # fmt: skip
case("float-scalar-shape", lambda b, r: b.op("Mul", [x(b), b.const(2.0)]))


def recurrent(op: str, steps: int | str, **attributes):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]

    def make(b, r):
        count = 2 if attributes.get("direction") == "bidirectional" else 1
        hidden = 5
        outputs = 3 if op == "LSTM" else 2
        shape = ("batch", steps, 3) if attributes.get("layout") else (steps, "batch", 3)
        inputs = [
            x(b, *shape),
            b.weight("W", f(r, count, gates * hidden, 3)),
            b.weight("R", f(r, count, gates * hidden, hidden)),
            b.weight("B", f(r, count, 2 * gates * hidden)),
        ]
        made = b.node(op, inputs, {"hidden_size": hidden, **attributes}, outputs)
        return list(made)

    return make


for op in ("LSTM", "GRU", "RNN"):
    case(f"{op.lower()}-unrolled", recurrent(op, 7))
    case(f"{op.lower()}-reverse", recurrent(op, 7, direction="reverse"))
    case(f"{op.lower()}-both", recurrent(op, 7, direction="bidirectional"))
    case(f"{op.lower()}-loop", recurrent(op, "time"))
    case(f"{op.lower()}-loop-reverse", recurrent(op, "time", direction="reverse"))
    case(f"{op.lower()}-loop-long", recurrent(op, 67))
    case(f"{op.lower()}-batch-major", recurrent(op, 7, layout=1))
    case(f"{op.lower()}-batch-major-both", recurrent(op, 7, layout=1, direction="bidirectional"))
    case(f"{op.lower()}-loop-batch-major", recurrent(op, "time", layout=1))
case("gru-reset_after", recurrent("GRU", 7, linear_before_reset=1))
case("gru-loop-reset_after", recurrent("GRU", "time", linear_before_reset=1))
case("rnn-relu", recurrent("RNN", 7, activations=["Relu"]))

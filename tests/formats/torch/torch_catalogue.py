"""Small graphs, one per operator and variant: sizes are prime and differ, so that no swapped axis can pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from recast.graph.build import Builder
from tests.formats.torch.torch_writing import Build, floats, weights

_F = ir.DataType.FLOAT
_I = ir.DataType.INT64


def _single(op: str, shape: tuple[Any, ...], attributes: dict[str, Any], *more: Any, dtype: ir.DataType = _F) -> Build:
    """One operator on one input; a tuple in ``more`` is a weight of that shape, an array a constant."""

    def build(b: Builder, rng: np.random.Generator) -> None:
        x = b.input("x", dtype, shape)
        inputs: list[Any] = [x]
        for i, item in enumerate(more):
            if isinstance(item, tuple):
                inputs.append(b.weight(f"layer/w{i}", floats(rng, *item)))
            else:
                inputs.append(None if item is None else b.const(item))
        with b.layer("layer", op):
            b.output(b.op(op, inputs, attributes), "y")

    return build


def _pair(op: str, a: tuple[Any, ...], c: tuple[Any, ...], dtype: ir.DataType = _F, **attributes: Any) -> Build:
    def build(b: Builder, rng: np.random.Generator) -> None:
        b.output(b.op(op, [b.input("a", dtype, a), b.input("c", dtype, c)], attributes), "y")

    return build


def _recurrent(op: str, gates: int, direction: str = "forward", bias: bool = True, **attributes: Any) -> Build:
    def build(b: Builder, rng: np.random.Generator) -> None:
        d = 2 if direction == "bidirectional" else 1
        x = b.input("x", _F, (7, "batch", 5))
        shapes = [(d, gates * 3, 5), (d, gates * 3, 3)] + ([(d, gates * 6)] if bias else [])
        inputs = [x, *weights(b, rng, *shapes)]
        facts = {"hidden_size": 3, "direction": direction, **attributes}
        results = b.node(op, inputs, facts, 3 if op == "LSTM" else 2)
        for i, value in enumerate(results):
            b.output(value, f"y{i}")

    return build


def _keras_lstm(b: Builder, rng: np.random.Generator) -> None:
    x = b.op("Transpose", [b.input("x", _F, ("batch", 7, 5))], {"perm": [1, 0, 2]})
    with b.layer("lstm", "LSTM"):
        y = b.node("LSTM", [x, *weights(b, rng, (1, 12, 5), (1, 12, 3), (1, 24))], {"hidden_size": 3}, 3)[0]
        y = b.op("Squeeze", [y, b.const([1])])
        y = b.op("Transpose", [y], {"perm": [1, 0, 2]})
    b.output(y, "y")


def _quantised(b: Builder, rng: np.random.Generator) -> None:
    x = b.input("x", _F, ("batch", 5, 7))
    zero, scale = b.const(np.array([3, -2, 0, 1, 7], np.int8)), b.const(np.array([0.1, 0.02, 0.5, 0.3, 0.07], "f4"))
    q = b.op("QuantizeLinear", [x, scale, zero], {"axis": 1})
    b.output(q, "q")
    b.output(b.op("DequantizeLinear", [q, scale, zero], {"axis": 1}), "y")


def _shapes(b: Builder, rng: np.random.Generator) -> None:
    x = b.input("x", _F, ("batch", 6, 5))
    shape = b.op("Shape", [x])
    n = b.op("Gather", [shape, b.const(0)])
    wanted = b.op("Concat", [b.op("Unsqueeze", [n, b.const([0])]), b.const([2, -1])], {"axis": 0})
    y = b.op("Reshape", [x, wanted])
    b.output(y, "y")
    b.output(b.op("Expand", [b.const([1.5, 2.5]), b.op("Concat", [b.op("Slice", [shape, b.const([0]), b.const([1])]),
                                                                  b.const([2])], {"axis": 0})]), "z")  # fmt: skip


def _conv_shapes(**attributes: Any) -> Build:
    return _single("Conv", ("batch", 4, 13, 11), attributes, (6, 4 // attributes.get("group", 1), 3, 2), (6,))


def _top_k(b: Builder, rng: np.random.Generator) -> None:
    values = b.node("TopK", [b.input("x", _F, ("batch", 11)), b.const([3])], {"axis": 1}, 2)
    b.output(values[0], "v")
    b.output(values[1], "i")


def _branch(b: Builder, rng: np.random.Generator) -> None:
    x = b.input("x", _F, ("batch", 5))
    flag = b.op("Greater", [b.op("ReduceSum", [x], {"keepdims": 0}), b.const(0.0)])
    sides = []
    for op in ("Exp", "Neg"):
        inner = Builder(op, b._names)
        inner.output(inner.op(op, [x]))
        sides.append(inner.graph())
    names = ("then_branch", "else_branch")
    attributes = {n: ir.AttrGraph(n, g) for n, g in zip(names, sides, strict=True)}
    y = b.node("If", [flag], attributes, 1)[0]
    y.dtype, y.shape = _F, ir.Shape(["batch", 5])
    b.output(y, "y")


def _negative_base(b: Builder, rng: np.random.Generator) -> None:
    exponent = b.op("Round", [b.input("x", _F, ("batch", 7))])
    b.output(b.op("Pow", [b.const(-1.5), exponent]), "y")


def _mixed_container(b: Builder, rng: np.random.Generator) -> None:
    """Children 0 and 1 look like a list until a child with a name comes."""
    y = b.input("x", _F, ("batch", 3))
    for path in ("block.0", "block.1", "block.last"):
        with b.layer(path, "Linear"):
            y = b.op("Gemm", [y, b.weight(f"{path}.weight", floats(rng, 3, 3))])
    b.output(y, "y")


def _where(b: Builder, rng: np.random.Generator) -> None:
    mask = b.input("m", ir.DataType.BOOL, ("batch", 1))
    b.output(b.op("Where", [mask, b.input("x", _F, ("batch", 7)), b.const(-1.5)]), "y")


def _embedding(b: Builder, rng: np.random.Generator) -> None:
    table = b.weight("emb/table", floats(rng, 7, 5))
    b.output(b.op("Gather", [table, b.input("ids", _I, ("batch", 3))], {"axis": 0}), "y")


def _spectrum(b: Builder, rng: np.random.Generator) -> None:
    """There and back: real to one-sided, complex to complex along another axis, one-sided to real."""
    x = b.input("x", _F, ("batch", 11, 7, 1))
    half = b.op("DFT", [x, None, b.const(np.array(1))], {"onesided": 1})
    b.output(half, "half")
    full = b.op("DFT", [half, b.const(np.array(5)), b.const(np.array(-2))])
    b.output(full, "full")
    b.output(b.op("DFT", [full, None, b.const(np.array(2))], {"inverse": 1}), "back")


def _deformed(b: Builder, rng: np.random.Generator) -> None:
    x = b.input("x", _F, ("batch", 4, 7, 11))
    offset, mask = b.input("offset", _F, ("batch", 24, 4, 8)), b.input("mask", _F, ("batch", 12, 4, 8))
    kernel, bias = weights(b, rng, (6, 2, 3, 2), (6,))
    facts = {"group": 2, "offset_group": 2, "pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 4]}
    b.output(b.op("DeformConv", [x, kernel, offset, bias, mask], facts), "y")


IMAGE = ("batch", 4, 13, 11)
CASES: dict[str, Build] = {
    "conv-plain": _conv_shapes(),
    "conv-strides_pads": _conv_shapes(strides=[2, 3], pads=[1, 1, 1, 1]),
    "conv-asymmetric": _conv_shapes(pads=[0, 1, 2, 0]),
    "conv-groups_dilation": _conv_shapes(group=2, dilations=[2, 3]),
    "conv-same_upper": _conv_shapes(auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv-same_lower": _conv_shapes(auto_pad="SAME_LOWER", strides=[2, 2]),
    "conv-same_dynamic": _single("Conv", ("batch", 4, "h", 11), {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
                                 (6, 4, 3, 2)),
    "conv-1d": _single("Conv", ("batch", 3, 17), {"pads": [2, 2]}, (5, 3, 5), (5,)),
    "conv-3d": _single("Conv", ("batch", 2, 5, 7, 6), {}, (3, 2, 2, 3, 2)),
    "convtranspose-plain": _single("ConvTranspose", IMAGE, {"strides": [2, 3]}, (4, 3, 3, 5), (3,)),
    "convtranspose-output_padding": _single("ConvTranspose", IMAGE, {
        "strides": [2, 3], "pads": [1, 1, 1, 1], "output_padding": [1, 2]}, (4, 3, 3, 5), (3,)),
    "convtranspose-asymmetric": _single("ConvTranspose", IMAGE, {"strides": [2, 2], "pads": [0, 1, 2, 0]},
                                        (4, 3, 3, 5), (3,)),
    "convtranspose-same_upper": _single("ConvTranspose", IMAGE, {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
                                        (4, 3, 3, 3), (3,)),
    "convtranspose-groups": _single("ConvTranspose", IMAGE, {"group": 2}, (4, 3, 3, 2)),
    "maxpool-plain": _single("MaxPool", IMAGE, {"kernel_shape": [3, 2], "strides": [2, 2]}),
    "maxpool-asymmetric": _single("MaxPool", IMAGE, {"kernel_shape": [3, 2], "pads": [0, 1, 2, 0]}),
    "maxpool-ceil": _single("MaxPool", IMAGE, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "maxpool-same": _single("MaxPool", IMAGE, {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "averagepool-pads": _single("AveragePool", IMAGE, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "averagepool-include": _single("AveragePool", IMAGE, {
        "kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    "averagepool-asymmetric": _single("AveragePool", IMAGE, {"kernel_shape": [3, 2], "pads": [0, 1, 2, 0]}),
    "averagepool-same": _single("AveragePool", IMAGE, {
        "kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "globalaveragepool-plain": _single("GlobalAveragePool", IMAGE, {}),
    "globalmaxpool-plain": _single("GlobalMaxPool", IMAGE, {}),
    "gemm-plain": _single("Gemm", ("batch", 7), {}, (7, 5), (5,)),
    "gemm-transposed": _single("Gemm", ("batch", 7), {"transB": 1}, (5, 7), (5,)),
    "gemm-scaled": _single("Gemm", ("batch", 7), {"alpha": 0.5, "beta": 2.0}, (7, 5), (5,)),
    "matmul-weight": _single("MatMul", ("batch", 3, 7), {}, (7, 5)),
    "matmul-two_inputs": _pair("MatMul", ("batch", 3, 7), ("batch", 7, 5)),
    "einsum-attention": _pair("Einsum", (2, 3, 5), (2, 7, 5), equation="b i d, b j d -> b i j"),
    "layernormalization-plain": _single("LayerNormalization", ("batch", 3, 7), {}, (7,), (7,)),
    "layernormalization-two_axes": _single("LayerNormalization", ("batch", 3, 7), {"axis": 1}, (3, 7), (3, 7)),
    "groupnormalization-plain": _single("GroupNormalization", IMAGE, {"num_groups": 2}, (4,), (4,)),
    "instancenormalization-plain": _single("InstanceNormalization", IMAGE, {}, (4,), (4,)),
    "lrn-odd": _single("LRN", IMAGE, {"size": 3}),
    "prelu-channels": _single("PRelu", IMAGE, {}, (4, 1, 1)),
    "prelu-every": _single("PRelu", ("batch", 5, 7), {}, (5, 7)),
    "clip-relu6": _single("Clip", ("batch", 7), {}, 0.0, 6.0),
    "clip-one_side": _single("Clip", ("batch", 7), {}, None, 0.25),
    "gelu-tanh": _single("Gelu", ("batch", 7), {"approximate": "tanh"}),
    "hardsigmoid-keras": _single("HardSigmoid", ("batch", 7), {"alpha": 1 / 6, "beta": 0.5}),
    "softmax-axis": _single("Softmax", ("batch", 3, 7), {"axis": 1}),
    "div-integers": _pair("Div", ("batch", 7), ("batch", 7), ir.DataType.INT32),
    "mod-negative": _single("Mod", ("batch", 7), {}, np.array(-3), dtype=_I),
    "pow-integers": _pair("Pow", ("batch", 7), (7,), _I),
    "pow-negative_base": _negative_base,
    "add-literal": _single("Add", ("batch", 7), {}, 0.1),
    "where-broadcast": _where,
    "reducemean-axes": _single("ReduceMean", ("batch", 3, 7), {"keepdims": 0}, [1]),
    "reducel2-all": _single("ReduceL2", ("batch", 3, 7), {}),
    "reduceprod-axes": _single("ReduceProd", ("batch", 3, 5), {}, [0, 2]),
    "argmax-last": _single("ArgMax", ("batch", 7), {"axis": 1, "select_last_index": 1}, dtype=_I),
    "cumsum-exclusive": _single("CumSum", ("batch", 7), {"exclusive": 1, "reverse": 1}, np.array(1)),
    "topk-plain": _top_k,
    "slice-negative_step": _single("Slice", ("batch", 11), {}, [9], [-12], [1], [-2]),
    "slice-positive": _single("Slice", ("batch", 11, 5), {}, [1, 2], [-1, 2**62], [1, 2], [2, 1]),
    "pad-constant": _single("Pad", ("batch", 5, 7), {}, [0, 1, 2, 0, 3, 0], 1.5),
    "pad-reflect": _single("Pad", ("batch", 5, 7), {"mode": "reflect"}, [0, 1, 2, 0, 3, 4]),
    "pad-edge": _single("Pad", ("batch", 5, 7), {"mode": "edge"}, [0, 1, 2, 0, 3, 4]),
    "tile-plain": _single("Tile", ("batch", 5), {}, [2, 3]),
    "transpose-plain": _single("Transpose", ("batch", 3, 5), {"perm": [2, 0, 1]}),
    "depthtospace-dcr": _single("DepthToSpace", ("batch", 8, 3, 5), {"blocksize": 2}),
    "depthtospace-crd": _single("DepthToSpace", ("batch", 8, 3, 5), {"blocksize": 2, "mode": "CRD"}),
    "spacetodepth-plain": _single("SpaceToDepth", ("batch", 3, 4, 6), {"blocksize": 2}),
    "gather-indices": _single("Gather", ("batch", 7, 5), {"axis": 1}, np.array([[0, -1], [3, 2]])),
    "embedding-plain": _embedding,
    "onehot-plain": _single("OneHot", ("batch", 3), {}, np.array(5), np.array([0.5, 2.0], "f4"), dtype=_I),
    "gathernd-plain": _single("GatherND", ("batch", 5, 7), {"batch_dims": 0}, np.array([[0, 2], [0, -1]])),
    "resize-nearest": _single("Resize", IMAGE, {"mode": "nearest", "coordinate_transformation_mode": "asymmetric",
                              "nearest_mode": "floor"}, None, np.array([1, 1, 2, 3], "f4")),
    "resize-linear": _single("Resize", IMAGE, {"mode": "linear"}, None, np.array([1, 1, 2, 2], "f4")),
    "resize-cubic": _single("Resize", (2, 4, 13, 11), {"mode": "cubic"}, None, None, [2, 4, 7, 19]),
    "dft-there_and_back": _spectrum,
    "stft-window": _single("STFT", ("batch", 31, 1), {"onesided": 1}, np.array(3), (7,)),
    "deformconv-groups": _deformed,
    "col2im-asymmetric": _single("Col2Im", ("batch", 18, 16), {"pads": [0, 1, 1, 0]}, [5, 4], [3, 2]),
    "col2im-plain": _single("Col2Im", ("batch", 18, 12), {"strides": [2, 1]}, [9, 4], [3, 2]),
    "tfidfvectorizer-skips": _single("TfIdfVectorizer", ("batch", 11), {
        "mode": "TFIDF", "min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 2, "ngram_counts": [0, 3],
        "ngram_indexes": [0, 1, 2, 3, 4], "pool_int64s": [1, 2, 4, 1, 3, 2, 2],
        "weights": [0.5, 1.0, 2.0, 3.0, 0.25]}, dtype=_I),
    "lstm-forward": _recurrent("LSTM", 4),
    "lstm-reverse": _recurrent("LSTM", 4, "reverse"),
    "lstm-bidirectional": _recurrent("LSTM", 4, "bidirectional", bias=False),
    "lstm-clip": _recurrent("LSTM", 4, clip=0.3),
    "lstm-batch_first": _keras_lstm,
    "gru-reset_after": _recurrent("GRU", 3, "bidirectional", linear_before_reset=1),
    "gru-reset_before": _recurrent("GRU", 3, linear_before_reset=0),
    "rnn-relu": _recurrent("RNN", 1, activations=["Relu"]),
    "quantizelinear-per_axis": _quantised,
    "shape-reshape": _shapes,
    "gemm-mixed_container": _mixed_container,
    "if-branches": _branch,
}  # fmt: skip

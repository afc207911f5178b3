"""Faults for examining the checker: each edits a graph in place, or says that it does not apply."""

# ruff: noqa: E501 (tables)

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from recast.graph.view import attr, const

Fault = Callable[[ir.Model, np.random.Generator], str | None]
FAULTS: dict[str, Fault] = {}


def fault(name: str) -> Callable[[Fault], Fault]:
    def register(function: Fault) -> Fault:
        assert name not in FAULTS
        FAULTS[name] = function
        return function

    return register


def pick(
    model: ir.Model, rng: np.random.Generator, *ops: str, when: Callable[[ir.Node], bool] = lambda n: True
) -> ir.Node | None:
    found = [n for n in model.graph if n.op_type in ops and when(n)]
    return found[int(rng.integers(len(found)))] if found else None


def set_attr(node: ir.Node, name: str, value: object) -> str:
    node.attributes[name] = ir.convenience.convert_attribute(name, value)
    return f"{node.op_type} {node.name} {name}={value}"


def set_const(model: ir.Model, node: ir.Node, index: int, array: np.ndarray, name: str = "faulty") -> str:
    old = node.inputs[index]
    value = ir.Value(name=f"{name}_{len(model.graph.initializers)}", const_value=ir.tensor(np.ascontiguousarray(array)))
    value.const_value.name = value.name  # type: ignore[union-attr]
    value.shape, value.type = ir.Shape(array.shape), ir.TensorType(ir.DataType.from_numpy(array.dtype))
    model.graph.register_initializer(value)
    node.replace_input_with(index, value)
    return f"{node.op_type} {node.name} input {index} ({old.name if old else '-'})"


def bypass(node: ir.Node, index: int = 0) -> str:
    source = node.inputs[index]
    assert source is not None
    node.outputs[0].replace_all_uses_with(source) if not node.outputs[0].is_graph_output() else None
    return f"{node.op_type} {node.name} dropped"


def weighted(index: int) -> Callable[[ir.Node], bool]:
    return lambda n: len(n.inputs) > index and n.inputs[index] is not None and const(n.inputs[index]) is not None


def inner(node: ir.Node) -> bool:
    return not any(o.is_graph_output() for o in node.outputs)


_ATTRS: list[tuple[str, tuple[str, ...], str, Callable[[object], object]]] = [
    ("epsilon-x10", ("BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization"), "epsilon", lambda e: float(e) * 10),  # type: ignore[arg-type]
    ("epsilon-small", ("BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization"), "epsilon", lambda e: float(e) / 1000),  # type: ignore[arg-type]
    ("leaky-alpha", ("LeakyRelu",), "alpha", lambda a: 0.01 if a != 0.01 else 0.02),
    ("leaky-alpha-near", ("LeakyRelu",), "alpha", lambda a: float(a) * 1.001),  # type: ignore[arg-type]
    ("elu-alpha", ("Elu",), "alpha", lambda a: 1.0),
    ("hard-sigmoid-alpha", ("HardSigmoid",), "alpha", lambda a: 1 / 6 if float(a) > 0.18 else 0.2),  # type: ignore[arg-type]
    ("hard-sigmoid-beta", ("HardSigmoid",), "beta", lambda b: 0.51),
    ("count-include-pad", ("AveragePool",), "count_include_pad", lambda c: 0 if c else 1),
    ("ceil-mode", ("MaxPool", "AveragePool"), "ceil_mode", lambda c: 0 if c else 1),
    ("gelu-approximate", ("Gelu",), "approximate", lambda a: "tanh" if a in (None, "none") else "none"),
    ("reset-before", ("GRU",), "linear_before_reset", lambda a: 0 if a else 1),
    ("depth-to-space-mode", ("DepthToSpace",), "mode", lambda a: "CRD"),
    ("lrn-alpha", ("LRN",), "alpha", lambda a: float(a) * 5),  # type: ignore[arg-type]
    ("lrn-size", ("LRN",), "size", lambda a: 3),
    ("lrn-beta", ("LRN",), "beta", lambda a: 0.5),
    ("half-pixel", ("Resize",), "coordinate_transformation_mode", lambda m: "asymmetric" if m != "asymmetric" else "half_pixel"),
    ("align-corners", ("Resize",), "coordinate_transformation_mode", lambda m: "align_corners"),
    ("pytorch-half-pixel", ("Resize",), "coordinate_transformation_mode", lambda m: "pytorch_half_pixel"),
    ("resize-mode", ("Resize",), "mode", lambda m: "nearest" if m == "linear" else "linear"),
    ("nearest-mode", ("Resize",), "nearest_mode", lambda m: "ceil"),
    ("group-count", ("GroupNormalization",), "num_groups", lambda g: 4),
    ("same-lower", ("Conv", "MaxPool", "AveragePool"), "auto_pad", lambda a: "SAME_LOWER"),
    ("output-padding", ("ConvTranspose",), "output_padding", lambda a: [0, 0]),
]  # fmt: skip


def _attribute_fault(name: str, ops: tuple[str, ...], key: str, change: Callable[[object], object]) -> None:
    def apply(model: ir.Model, rng: np.random.Generator) -> str | None:
        needs = key in ("auto_pad", "nearest_mode", "alpha", "epsilon")
        node = pick(model, rng, *ops, when=lambda n: not needs or key in n.attributes)
        return set_attr(node, key, change(attr(node, key))) if node else None

    FAULTS[name] = apply


for _entry in _ATTRS:
    _attribute_fault(*_entry)


@fault("pad-wrong-side")
def pad_side(model: ir.Model, rng: np.random.Generator) -> str | None:
    node = pick(
        model, rng, "Conv", "MaxPool", "AveragePool", "ConvTranspose", when=lambda n: any(attr(n, "pads") or [])
    )
    if node is None:
        return None
    pads = attr(node, "pads")
    half = len(pads) // 2
    axis = int(rng.choice([i for i in range(half) if pads[i] + pads[half + i]]))
    if pads[axis] != pads[half + axis]:
        pads[axis], pads[half + axis] = pads[half + axis], pads[axis]
    else:
        pads[axis], pads[half + axis] = pads[axis] - 1, pads[half + axis] + 1
    return set_attr(node, "pads", pads)


@fault("pad-axes-swapped")
def pad_axes(model: ir.Model, rng: np.random.Generator) -> str | None:
    node = pick(model, rng, "Pad")
    if node is None:
        return None
    pads = const(node.inputs[1])
    assert pads is not None
    return set_const(model, node, 1, np.roll(pads, len(pads) // 2))


@fault("pad-value")
def pad_value(model: ir.Model, rng: np.random.Generator) -> str | None:
    node = pick(model, rng, "Pad")
    return set_const(model, node, 2, np.zeros((), np.float32)) if node else None


@fault("dilations-swapped")
def dilation(model: ir.Model, rng: np.random.Generator) -> str | None:
    node = pick(model, rng, "Conv", when=lambda n: len(set(attr(n, "dilations") or [])) > 1)
    return set_attr(node, "dilations", attr(node, "dilations")[::-1]) if node else None


@fault("axis-wrong")
def wrong_axis(model: ir.Model, rng: np.random.Generator) -> str | None:
    node = pick(model, rng, "Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization", "ArgMax")
    if node is None:
        return None
    rank = len(node.inputs[0].shape or ())  # type: ignore[union-attr]
    axis = int(attr(node, "axis", -1)) % rank
    return set_attr(node, "axis", (axis + rank - 1) % rank)


def _weight_fault(
    name: str, op: tuple[str, ...], index: int, change: Callable[[np.ndarray, np.random.Generator], np.ndarray | None]
) -> None:
    def apply(model: ir.Model, rng: np.random.Generator) -> str | None:
        nodes = [n for n in model.graph if n.op_type in op and weighted(index)(n)]
        for place in rng.permutation(len(nodes)):
            old = const(nodes[place].inputs[index])
            assert old is not None
            new = change(old.copy(), rng)
            if new is not None and new.shape == old.shape:
                return set_const(model, nodes[place], index, new)
        return None

    FAULTS[name] = apply


def _zero_one(w: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    w.reshape(-1)[int(rng.integers(w.size))] = 0
    return w


def _bit(low: int, high: int) -> Callable[[np.ndarray, np.random.Generator], np.ndarray | None]:
    def change(w: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
        if w.dtype != np.float32:
            return None
        w = np.ascontiguousarray(w)
        bits = w.view(np.uint32).reshape(-1)
        bits[int(rng.integers(bits.size))] ^= np.uint32(1 << int(rng.integers(low, high)))
        return w

    return change


def _square_transpose(w: np.ndarray, _: np.random.Generator) -> np.ndarray | None:
    return w.swapaxes(-1, -2) if w.ndim > 1 and w.shape[-1] == w.shape[-2] > 1 else None


def _swap_gates(count: int) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    def change(w: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        parts = np.split(w, count, axis=1)
        i, j = rng.choice(count, 2, replace=False)
        parts[i], parts[j] = parts[j], parts[i]
        return np.concatenate(parts, axis=1)

    return change


_CONVS = ("Conv", "ConvTranspose")
for _name, _ops, _index, _change in (
    ("bias-missing", ("Conv", "ConvTranspose", "Gemm"), 2, lambda w, r: np.zeros_like(w)),
    ("bias-missing-recurrent", ("LSTM", "GRU", "RNN"), 3, lambda w, r: np.zeros_like(w)),
    ("bias-one-channel", ("Conv", "ConvTranspose", "Gemm"), 2, _zero_one),
    ("bias-rolled", ("Conv", "ConvTranspose", "Gemm"), 2, lambda w, r: np.roll(w, 1)),
    ("bias-norm-missing", ("BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization"), 2, lambda w, r: np.zeros_like(w)),
    ("kernel-transposed", _CONVS, 1, _square_transpose),
    ("kernel-flipped", _CONVS, 1, lambda w, r: w[..., ::-1] if w.shape[-1] > 1 else None),
    ("kernel-rotated", _CONVS, 1, lambda w, r: w[..., ::-1, ::-1] if w.ndim > 3 and w.shape[-1] > 1 else None),
    ("kernel-in-out-swapped", _CONVS, 1, lambda w, r: w.swapaxes(0, 1) if w.shape[0] == w.shape[1] else None),
    ("kernel-input-rolled", _CONVS, 1, lambda w, r: np.roll(w, 1, axis=1) if w.shape[1] > 1 else None),
    ("kernel-output-rolled", _CONVS, 1, lambda w, r: np.roll(w, 1, axis=0)),
    ("dense-rows-rolled", ("Gemm", "MatMul"), 1, lambda w, r: np.roll(w, 1, axis=0)),
    ("dense-transposed", ("Gemm", "MatMul"), 1, _square_transpose),
    ("scale-permuted", ("BatchNormalization", "LayerNormalization", "InstanceNormalization", "RMSNormalization"), 1, lambda w, r: np.roll(w, 1)),
    ("mean-permuted", ("BatchNormalization",), 3, lambda w, r: np.roll(w, 2)),
    ("variance-permuted", ("BatchNormalization",), 4, lambda w, r: np.roll(w, -1)),
    ("variance-one-channel", ("BatchNormalization",), 4, _zero_one),
    ("exponent-bit-kernel", ("Conv", "ConvTranspose", "Gemm", "MatMul"), 1, _bit(23, 31)),
    ("exponent-bit-recurrent", ("LSTM", "GRU", "RNN"), 1, _bit(23, 31)),
    ("exponent-bit-recurrence", ("LSTM", "GRU", "RNN"), 2, _bit(23, 31)),
    ("exponent-bit-bias", ("Conv", "Gemm", "BatchNormalization"), 2, _bit(23, 30)),
    ("exponent-bit-embedding", ("Gather",), 0, _bit(23, 31)),
    ("sign-bit", ("Conv", "Gemm", "MatMul", "ConvTranspose"), 1, _bit(31, 32)),
    ("mantissa-bit-high", ("Conv", "Gemm", "MatMul"), 1, _bit(20, 23)),
    ("weight-zeroed", ("Conv", "Gemm", "MatMul"), 1, _zero_one),
    ("gates-lstm", ("LSTM",), 1, _swap_gates(4)),
    ("gates-lstm-recurrence", ("LSTM",), 2, _swap_gates(4)),
    ("gates-gru", ("GRU",), 1, _swap_gates(3)),
    ("bias-halves-recurrent", ("LSTM", "GRU", "RNN"), 3, lambda w, r: np.roll(w, w.shape[1] // 2, axis=1)),
    ("directions-swapped", ("RNN",), 1, lambda w, r: w[::-1] if w.shape[0] == 2 else None),
    ("rows-swapped", ("Gather",), 0, lambda w, r: w[[1, 0, *range(2, len(w))]]),
    ("rows-off-by-one", ("Gather",), 0, lambda w, r: np.roll(w, 1, axis=0)),
    ("last-row", ("Gather",), 0, lambda w, r: np.concatenate([w[:-1], w[:1]])),
    ("slope-permuted", ("PRelu",), 1, lambda w, r: np.roll(w, 1)),
    ("clip-bound", ("Clip",), 2, lambda w, r: w * np.float32(1.01)),
    ("scale-one-percent", ("QuantizeLinear", "DequantizeLinear"), 1, lambda w, r: w * np.float32(1.01)),
    ("scale-rolled", ("DequantizeLinear",), 1, lambda w, r: np.roll(w, 1) if w.size > 1 else None),
    ("zero-point-off-by-one", ("QuantizeLinear", "DequantizeLinear"), 2, lambda w, r: w + np.array(1 if w.max() < 100 else -1, w.dtype) if w.size == 1 else None),
    ("integer-weight-negated", ("DequantizeLinear",), 0, lambda w, r: np.where(np.arange(w.size).reshape(w.shape) == int(r.integers(w.size)), -w, w).astype(w.dtype)),
    ("integer-weight-bit", ("DequantizeLinear",), 0, lambda w, r: np.where(np.arange(w.size).reshape(w.shape) == int(r.integers(w.size)), w ^ np.array(32, w.dtype), w).astype(w.dtype)),
    ("slice-off-by-one", ("Slice",), 1, lambda w, r: w + 1),
    ("slice-step", ("Slice",), 4, lambda w, r: w + 1),
    ("constant-operand", ("Mul", "Div", "Add", "Sub"), 1, lambda w, r: w * np.float32(1.001)),
):  # fmt: skip
    _weight_fault(_name, _ops, _index, _change)


@fault("operands-swapped")
def swap_operands(model: ir.Model, rng: np.random.Generator) -> str | None:
    node = pick(model, rng, "Sub", "Div")
    if node is None:
        return None
    a, b = node.inputs
    node.replace_input_with(0, b)
    node.replace_input_with(1, a)
    return f"{node.name} operands swapped"


@fault("concat-order")
def concat_order(model: ir.Model, rng: np.random.Generator) -> str | None:
    node = pick(model, rng, "Concat")
    if node is None:
        return None
    a, b = node.inputs[0], node.inputs[-1]
    node.replace_input_with(0, b)
    node.replace_input_with(len(node.inputs) - 1, a)
    return f"{node.name} order"


@fault("residual-dropped")
def drop_residual(model: ir.Model, rng: np.random.Generator) -> str | None:
    node = pick(model, rng, "Add", when=lambda n: inner(n) and n.inputs[0].shape == n.inputs[1].shape)  # type: ignore[union-attr]
    return bypass(node, int(rng.integers(2))) if node else None


@fault("activation-dropped")
def drop_activation(model: ir.Model, rng: np.random.Generator) -> str | None:
    ops = ("Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "Elu", "HardSigmoid", "Gelu", "PRelu", "Softplus")
    node = pick(model, rng, *ops, when=inner)
    return bypass(node) if node else None


@fault("normalisation-dropped")
def drop_norm(model: ir.Model, rng: np.random.Generator) -> str | None:
    node = pick(model, rng, "BatchNormalization", "LayerNormalization", "InstanceNormalization", "LRN", when=inner)
    return bypass(node) if node else None


def _retype(name: str, ops: tuple[str, ...], new: str, attrs: dict[str, object]) -> None:
    def apply(model: ir.Model, rng: np.random.Generator) -> str | None:
        node = pick(model, rng, *ops, when=lambda n: n.op_type != new)
        if node is None:
            return None
        old, node.op_type = node.op_type, new
        node.attributes.clear()
        for key, value in attrs.items():
            set_attr(node, key, value)
        if new in ("Relu", "LeakyRelu", "Sigmoid", "Tanh"):
            node.resize_inputs(1)
        return f"{node.name}: {old} became {new}"

    FAULTS[name] = apply


_retype("relu6-as-relu", ("Clip",), "Relu", {})
_retype("leaky-as-relu", ("LeakyRelu", "Elu", "PRelu"), "Relu", {})
_retype("relu-as-leaky", ("Relu",), "LeakyRelu", {"alpha": 0.001})
_retype("sigmoid-as-tanh", ("Sigmoid",), "Tanh", {})
_retype("hard-as-sigmoid", ("HardSigmoid",), "Sigmoid", {})
_retype("gelu-as-relu", ("Gelu",), "Relu", {})
_retype("softplus-as-relu", ("Softplus",), "Relu", {})
_retype("log-softmax-as-softmax", ("LogSoftmax",), "Softmax", {"axis": 1})
_retype("global-max-as-average", ("GlobalMaxPool",), "GlobalAveragePool", {})
_retype("global-average-as-max", ("GlobalAveragePool",), "GlobalMaxPool", {})


@fault("max-pool-as-average")
def max_as_average(model: ir.Model, rng: np.random.Generator) -> str | None:
    node = pick(model, rng, "MaxPool")
    if node is None:
        return None
    node.op_type = "AveragePool"
    return f"{node.name} became AveragePool"


@fault("relu-as-relu6")
def relu6(model: ir.Model, rng: np.random.Generator) -> str | None:
    node = pick(model, rng, "Relu")
    if node is None:
        return None
    node.op_type = "Clip"
    node.resize_inputs(3)
    set_const(model, node, 1, np.zeros((), np.float32))
    return set_const(model, node, 2, np.array(6, np.float32))


@fault("layout-flattened-wrong")
def flattened(model: ir.Model, rng: np.random.Generator) -> str | None:
    node = pick(model, rng, "Transpose", when=inner)
    if node is None:
        return None
    source, out = node.inputs[0], node.outputs[0]
    if source is None or not all(isinstance(d, int) for d in (out.shape or (None,))[1:]):
        return None
    perm = attr(node, "perm")
    if 0 not in perm or perm[0] != 0:
        return None
    node.op_type = "Reshape"
    node.attributes.clear()
    node.resize_inputs(2)
    shape = np.array([0, *(int(d) for d in list(out.shape or ())[1:])], np.int64)  # type: ignore[arg-type]
    return set_const(model, node, 1, shape)


@fault("split-outputs-swapped")
def split_swapped(model: ir.Model, rng: np.random.Generator) -> str | None:
    node = pick(model, rng, "Split")
    if node is None:
        return None
    a, b = node.outputs
    users_a, users_b = list(a.uses()), list(b.uses())
    for use in users_a:
        use.node.replace_input_with(use.idx, b)
    for use in users_b:
        use.node.replace_input_with(use.idx, a)
    return f"{node.name} outputs swapped"


@fault("round-mode")
def round_mode(model: ir.Model, rng: np.random.Generator) -> str | None:
    node = pick(model, rng, "QuantizeLinear")
    if node is None or node.inputs[0] is None:
        return None
    scale = const(node.inputs[1])
    half = ir.Value(name="half_step", const_value=ir.tensor(np.asarray(scale) * np.float32(0.5), name="half_step"))
    half.shape, half.type = ir.Shape(()), ir.TensorType(ir.DataType.FLOAT)
    model.graph.register_initializer(half)
    shifted = ir.Node("", "Sub", [node.inputs[0], half], name="truncate")
    shifted.outputs[0].name = "truncated"
    model.graph.insert_before(node, shifted)
    node.replace_input_with(0, shifted.outputs[0])
    return f"{node.name} rounds down"

"""Which activations become integers, which of them must share a scale, and which scales the target prescribes.

The rules are those of the integer kernels of LiteRT (its 8-bit quantisation specification); ONNX Runtime's QLinear
operators accept them too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from recast.graph.view import attr, const, is_const, sole_consumer

# Operators with integer kernels. Input and output of SAME and all inputs of Concat have one scale.
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
BINARY = frozenset({"Add", "Sub", "Mul"})
SAME = frozenset({
    "MaxPool", "AveragePool", "GlobalMaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Concat",
    "Slice", "Split", "DepthToSpace", "SpaceToDepth", "Identity", "Resize", "Pad",
})  # fmt: skip
FREE = frozenset({"GlobalAveragePool", "ReduceMean", "LeakyRelu", "Relu", "Clip"})
FIXED = {"Softmax": (1 / 256, -128), "Sigmoid": (1 / 256, -128), "Tanh": (1 / 128, 0)}
_FUSING = WEIGHTED | BINARY | {"MaxPool", "AveragePool"}


@dataclass
class Values:
    """What is to be rounded.

    Attributes:
        groups: values that share one scale, in the order of computing; names of float values of the graph.
        fixed: (scale, zero) by value, where the target prescribes them.
        constants: float constants that are operands of integer kernels (Add, Mul).
        left: (where, why) of operators that stay in float.
    """

    groups: list[list[str]] = field(default_factory=list)
    fixed: dict[str, tuple[float, int]] = field(default_factory=dict)
    constants: list[str] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """All values."""
        return [n for group in self.groups for n in group]


def activation_of(value: ir.Value) -> ir.Value:
    """The result of the activation that kernels take in, or the value itself."""
    node = sole_consumer(value)
    if node is None or node.domain or value.is_graph_output():
        return value
    if node.op_type == "Relu" or (node.op_type == "Clip" and _bounds(node) in ((0.0, 6.0), (0.0, None), (-1.0, 1.0))):
        return node.outputs[0]
    return value


def _bounds(node: ir.Node) -> tuple[float | None, float | None]:
    found: list[float | None] = []
    for slot in (1, 2):
        array = const(node.inputs[slot]) if len(node.inputs) > slot else None
        found.append(None if array is None else float(array.reshape(-1)[0]))
    return found[0], found[1]


def choose(
    graph: ir.Graph,
    skip: frozenset[str] = frozenset(),
    tables: bool = True,
    rescaling: frozenset[str] = frozenset(),
) -> Values:
    """Look at every operator of the graph.

    Args:
        graph: channels-first, BatchNormalization folded.
        skip: names of nodes to leave in float.
        tables: Softmax, Sigmoid and Tanh are integers too (LiteRT's 16-bit tables are much coarser than 16 bits).
        rescaling: operators of ``SAME`` whose kernels take inputs of different scales after all.
    """
    found = Values()
    parent: dict[str, str] = {}
    inside: set[ir.Node] = set()  # taken in by the node before
    for node in graph:
        if node in inside:
            continue
        why = _refusal(node, skip)
        if not why and not tables and node.op_type in FIXED:
            why = f"{node.op_type} stays in float: the table of its 16-bit kernel is coarse"
        if why:
            if any(v.dtype == ir.DataType.FLOAT for v in node.outputs):
                found.left.append((node.name or node.op_type, why))
            continue
        result = _result(node, inside)
        ends = [v for v in (*_data(node), *result) if v is not None]
        names = [v.name or "" for v in ends if not is_const(v)]
        for value in ends:
            if is_const(value) and value.name:
                found.constants.append(value.name)
        for name in names:
            parent.setdefault(name, name)
        if node.op_type in SAME and node.op_type not in rescaling:
            for other in names[1:]:
                parent[_root(parent, other)] = _root(parent, names[0])
        if node.op_type in FIXED:
            found.fixed[result[0].name or ""] = FIXED[node.op_type]
    by_root: dict[str, list[str]] = {}
    for name in parent:
        by_root.setdefault(_root(parent, name), []).append(name)
    found.groups = list(by_root.values())
    found.constants = list(dict.fromkeys(found.constants))
    return found


def _root(parent: dict[str, str], name: str) -> str:
    while parent[name] != name:
        name = parent[name]
    return name


def _data(node: ir.Node) -> list[ir.Value]:
    """The activations (and constant operands) of a node."""
    every = node.op_type in BINARY or node.op_type == "Concat"
    if node.op_type == "MatMul":
        every = not is_const(node.inputs[1])
    return [v for v in (node.inputs if every else node.inputs[:1]) if v is not None]


def _result(node: ir.Node, inside: set[ir.Node]) -> list[ir.Value]:
    """The values to round behind a node; what its kernel takes in is noted."""
    if node.op_type == "Split":
        return list(node.outputs)
    value = node.outputs[0]
    if node.op_type == "MatMul" and is_const(node.inputs[1]):
        follower = sole_consumer(value)
        if follower is not None and follower.op_type == "Add" and any(_vector(v) for v in follower.inputs):
            inside.add(follower)
            value = follower.outputs[0]
    if node.op_type in _FUSING:
        after = activation_of(value)
        if after is not value:
            producer = after.producer()
            if producer is not None:
                inside.add(producer)
            value = after
    return [value]


def _vector(value: ir.Value | None) -> bool:
    return value is not None and is_const(value) and len(value.shape or ()) == 1


def _refusal(node: ir.Node, skip: frozenset[str]) -> str:
    """Why a node stays in float; "" if it has an integer kernel."""
    known = WEIGHTED | BINARY | SAME | FREE | FIXED.keys()
    if node.domain or node.op_type not in known:
        return f"{node.op_type} has no integer kernel"
    if node.name in skip:
        return "asked to stay in float"
    if any(v.dtype != ir.DataType.FLOAT for v in (*_data(node), node.outputs[0])):
        return "its values are no float32"
    if node.op_type in ("Conv", "ConvTranspose", "Gemm") and not is_const(node.inputs[1]):
        return "its weights are computed"
    if node.op_type in ("Conv", "ConvTranspose", "Gemm") and len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = node.inputs[2]
        if not is_const(bias) or len(bias.shape or ()) != 1:
            return "its bias is no constant vector"
    if node.op_type == "Gemm" and (
        attr(node, "transA", 0) or attr(node, "alpha", 1.0) != 1 or attr(node, "beta", 1.0) != 1
    ):
        return "Gemm with factors"
    if node.op_type == "Conv" and len(node.inputs[0].shape or ()) == 5:  # type: ignore[union-attr]
        return "3-D convolutions have no integer kernel"
    if node.op_type == "ConvTranspose" and attr(node, "group", 1) != 1:
        return "grouped transposed convolutions have no integer kernel"
    if node.op_type == "Clip" and _bounds(node) not in ((0.0, 6.0), (0.0, None), (-1.0, 1.0)):
        return "Clip with other bounds"
    if node.op_type == "Pad" and (attr(node, "mode", "constant") != "constant" or _pad_value(node) != 0.0):
        return "Pad with another value than 0"
    if node.op_type == "Resize" and attr(node, "mode", "nearest") == "cubic":
        return "cubic Resize has no integer kernel"
    return ""


def _pad_value(node: ir.Node) -> float | None:
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return 0.0
    array = const(node.inputs[2])
    return None if array is None else float(array.reshape(-1)[0])

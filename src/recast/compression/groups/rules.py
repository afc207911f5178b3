"""How entries of axes go together through each operator: from the operator facts, by kind.

A rule takes the atoms of a node's inputs and sets those of its outputs. What no rule knows stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from recast.compression.groups.atoms import Atoms, Axes, Axis, Follow, Use
from recast.graph.view import attr, const, dims, rank
from recast.ops import fact

Rule = Callable[[Atoms, ir.Node], None]
RULES: dict[str, Rule] = {}  # by operator, or else by the kind of its facts


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operators or kinds."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def walk(atoms: Atoms, graph: ir.Graph) -> None:
    """All nodes in order."""
    for node in graph:
        facts = fact(node.op_type)
        found = RULES.get(node.op_type) or (RULES.get(facts.kind) if facts is not None else None)
        nested = any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values())
        if found is None or nested or any(o.shape is None for o in node.outputs if o.name):
            keep(atoms, node)
        else:
            found(atoms, node)
        if nested:
            _fix_captured(atoms, node)
    for value in graph.outputs:
        atoms.fix(*atoms.of(value))


def keep(atoms: Atoms, node: ir.Node) -> None:
    """Nothing that the node touches can be removed."""
    for value in node.inputs:
        atoms.fix(*atoms.of(value))
    for value in node.outputs:
        atoms.set(value, [None] * (rank(value) or 0))


def _fix_captured(atoms: Atoms, node: ir.Node) -> None:
    for attribute in node.attributes.values():
        graphs = [attribute.value] if attribute.type == ir.AttributeType.GRAPH else []
        for graph in graphs:
            for inner in ir.traversal.RecursiveGraphIterator(graph):
                for value in inner.inputs:
                    if value is not None:
                        atoms.fix(*atoms.of(value))


def _first(atoms: Atoms, node: ir.Node) -> Axes:
    return atoms.of(node.inputs[0])


def _all(atoms: Atoms, node: ir.Node, axes: Axes) -> None:
    for value in node.outputs:
        atoms.set(value, axes)


# -- matrix products --------------------------------------------------------------------------------------------------


def _contract(atoms: Atoms, node: ir.Node, axis: int, weight_axis: int) -> None:
    """Axis ``axis`` of input 0 is summed over with axis ``weight_axis`` of input 1."""
    x, w = node.inputs[0], node.inputs[1]
    if x is None or w is None:
        return
    atoms.join(atoms.of(x)[axis], atoms.of(w)[weight_axis])
    weight_axis %= len(atoms.of(w))
    turn = w.producer()
    if turn is not None and turn.op_type == "Transpose" and turn.inputs[0] is not None:  # a table that is the head, too
        weight_axis = int(attr(turn, "perm", list(range(len(atoms.of(w))))[::-1])[weight_axis])
        w = turn.inputs[0]
    atoms.uses.append(Use(node, x, axis % len(atoms.of(x)), w, weight_axis))


def _static(value: ir.Value | None) -> bool:
    """A weight: a constant, or a constant behind DequantizeLinear, or a matrix behind Transpose."""
    if value is None:
        return False
    producer = value.producer()
    passed = ("DequantizeLinear", "Cast", "Transpose") if rank(value) == 2 else ("DequantizeLinear", "Cast")
    if producer is not None and producer.op_type in passed:
        return _static(producer.inputs[0])
    return value.const_value is not None


@rule("Gemm")
def _gemm(atoms: Atoms, node: ir.Node) -> None:
    if not _static(node.inputs[1]) or attr(node, "transA", 0):
        return keep(atoms, node)
    x, w = _first(atoms, node), atoms.of(node.inputs[1])
    into, out = (1, 0) if attr(node, "transB", 0) else (0, 1)
    _contract(atoms, node, 1, into)
    made: Axis = w[out]
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = atoms.of(node.inputs[2])
        if bias and bias[-1] is not None:
            made = atoms.join(made, bias[-1])
    return _all(atoms, node, [x[0], made])


@rule("MatMul")
def _matmul(atoms: Atoms, node: ir.Node) -> None:
    a, b = _first(atoms, node), atoms.of(node.inputs[1])
    if _static(node.inputs[1]) and len(b) == 2 and len(a) > 1:
        _contract(atoms, node, -1, 0)
        return _all(atoms, node, [*a[:-1], b[1]])
    if len(a) < 2 or len(b) < 2 or _static(node.inputs[0]) or _static(node.inputs[1]):
        return keep(atoms, node)
    atoms.fix(a[-1], b[-2])
    lead = _broadcast(atoms, [(a[:-2], _sizes(node.inputs[0])[:-2]), (b[:-2], _sizes(node.inputs[1])[:-2])])
    return _all(atoms, node, [*lead, a[-2], b[-1]])


@rule("Conv", "ConvTranspose")
def _conv(atoms: Atoms, node: ir.Node) -> None:
    x, w, group = _first(atoms, node), atoms.of(node.inputs[1]), int(attr(node, "group", 1))
    atoms.fix(*x[2:], *w[2:])
    if not _static(node.inputs[1]):
        return keep(atoms, node)
    into, out = (1, 0) if node.op_type == "Conv" else (0, 1)
    made = w[out]
    if group == 1:
        _contract(atoms, node, 1, into)
    elif x[1] is not None and node.op_type == "Conv" and w[1] is None:  # depthwise: each channel has its own kernels
        per = len(w[0]) // len(x[1]) if w[0] is not None else 0
        atoms.join(np.repeat(x[1], per), w[0])
        atoms.follows.append(Follow("group", node, (x[1],)))
    else:
        made = _grouped(atoms, node, group)
    bias = atoms.of(node.inputs[2])[0] if len(node.inputs) > 2 and node.inputs[2] is not None else made
    return _all(atoms, node, [x[0], atoms.join(made, bias) if bias is not made else made, *[None] * (len(x) - 2)])


def _grouped(atoms: Atoms, node: ir.Node, group: int) -> Axis:
    """Equal places of all blocks go together, so that blocks stay equal."""
    x, w = _first(atoms, node), atoms.of(node.inputs[1])
    if node.op_type != "Conv" or x[1] is None or w[0] is None:
        atoms.fix(x[1], *w)
        return None
    atoms.uses.append(Use(node, node.inputs[0], 1, node.inputs[1], 1))  # type: ignore[arg-type]
    blocks = x[1].reshape(group, -1)
    for block in blocks:
        atoms.join(block, w[1] if w[1] is not None else blocks[0])
    kernels = w[0].reshape(group, -1)
    for block in kernels[1:]:
        atoms.join(kernels[0], block)
    return w[0]


# -- recurrent --------------------------------------------------------------------------------------------------------


@rule("recurrent")
def _recurrent(atoms: Atoms, node: ir.Node) -> None:
    inputs = [*node.inputs, *[None] * (8 - len(node.inputs))]
    x, w, r = _first(atoms, node), atoms.of(inputs[1]), atoms.of(inputs[2])
    batch_major = bool(attr(node, "layout", 0))
    if not (_static(inputs[1]) and _static(inputs[2])) or r[2] is None or attr(node, "activations", None):
        return keep(atoms, node)
    hidden = r[2]
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[node.op_type]
    _contract(atoms, node, 2, 2)
    parts = [(w[1], gates), (r[1], gates)]
    if inputs[3] is not None:
        parts.append((atoms.of(inputs[3])[1], 2 * gates))
    if inputs[7] is not None:
        parts.append((atoms.of(inputs[7])[1], 3))
    for axis, times in parts:
        atoms.join(np.tile(hidden, times), axis)
    for value in inputs[5:7]:
        if value is not None:
            atoms.join(hidden, atoms.of(value)[2])
    atoms.uses.append(Use(node, node.outputs[0], 3, inputs[2], 2))  # type: ignore[arg-type]
    atoms.follows.append(Follow("hidden", node, (hidden,)))
    steps = [x[0], None, None, hidden] if not batch_major else [None, x[1], None, hidden]
    for index, value in enumerate(node.outputs):
        atoms.set(value, steps if index == 0 else [None, None, hidden])
    return None


# -- image operators ---------------------------------------------------------------------------------------------------


@rule("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _pool(atoms: Atoms, node: ir.Node) -> None:
    x = _first(atoms, node)
    atoms.fix(*x[2:])
    _all(atoms, node, [*x[:2], *[None] * (len(x) - 2)])


@rule("BatchNormalization", "InstanceNormalization")
def _norm(atoms: Atoms, node: ir.Node) -> None:
    x = _first(atoms, node)
    axis = x[1]
    for value in node.inputs[1:]:
        if value is not None:
            axis = atoms.join(axis, atoms.of(value)[0])
    _all(atoms, node, [x[0], axis, *x[2:]])


@rule("Resize")
def _resize(atoms: Atoms, node: ir.Node) -> None:
    x, before, after = _first(atoms, node), _sizes(node.inputs[0]), _sizes(node.outputs[0])
    axes = attr(node, "axes", None)
    given = [const(v) for v in node.inputs[2:4] if v is not None]
    if axes is None and any(g is not None and g.dtype.kind == "i" and g.size for g in given):
        atoms.fix(*x)  # sizes count every axis
    touched = {a % len(x) for a in axes} if axes is not None else set()
    same = [before[i] == after[i] and isinstance(before[i], int) and i not in touched for i in range(len(x))]
    atoms.fix(*(a for a, s in zip(x, same, strict=True) if not s))
    _all(atoms, node, [a if s else None for a, s in zip(x, same, strict=True)])


# -- element by element ----------------------------------------------------------------------------------------------


def _sizes(value: ir.Value | None) -> list[int | str | None]:
    return list(dims(value)) if value is not None and value.shape is not None else []


def _broadcast(atoms: Atoms, operands: list[tuple[Axes, list[int | str | None]]]) -> Axes:
    """Axes aligned at their ends; an entry of a broadcast axis goes with every entry: it stays."""
    size = max(len(a) for a, _ in operands)
    made: Axes = []
    for place in range(-size, 0):
        known = [(a[place], s[place]) for a, s in operands if len(a) >= -place and s[place] != 1]
        axis: Axis = known[0][0] if known else None
        for other, _ in known[1:]:
            axis = atoms.join(axis, other)
        made.append(axis)
    return made


@rule("elementwise")
def _elementwise(atoms: Atoms, node: ir.Node) -> None:
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return _quantise(atoms, node)
    count = 1 if node.op_type in ("Clip", "Dropout", "CastLike") else len(node.inputs)
    operands = [(atoms.of(v), _sizes(v)) for v in node.inputs[:count] if v is not None]
    return _all(atoms, node, _broadcast(atoms, operands))


def _quantise(atoms: Atoms, node: ir.Node) -> None:
    x, axis = list(_first(atoms, node)), int(attr(node, "axis", 1))
    if attr(node, "block_size", 0):
        return keep(atoms, node)
    for value in node.inputs[1:]:
        scale = atoms.of(value)
        if len(scale) == 1 and scale[0] is not None:
            x[axis] = atoms.join(x[axis], scale[0])
    return _all(atoms, node, x)


# -- along axes --------------------------------------------------------------------------------------------------------


@rule("along")
def _along(atoms: Atoms, node: ir.Node) -> None:
    facts, x = fact(node.op_type), list(_first(atoms, node))
    axis = int(attr(node, "axis", facts.axis if facts else -1))
    atoms.fix(x[axis])
    x[axis] = None
    _all(atoms, node, x)


@rule("trailing")
def _trailing(atoms: Atoms, node: ir.Node) -> None:
    x = list(_first(atoms, node))
    axis = int(attr(node, "axis", -1)) % len(x)
    if atoms.stream and axis == len(x) - 1 and len([v for v in node.outputs if v.name]) == 1:
        for value in node.inputs[1:]:
            if value is not None:
                x[axis] = atoms.join(x[axis], atoms.of(value)[-1])
        _count(atoms, x[axis])
        return _all(atoms, node, x)
    atoms.fix(*x[axis:])
    for value in node.inputs[1:]:
        atoms.fix(*atoms.of(value))
    x[axis:] = [None] * (len(x) - axis)
    return _all(atoms, node, x)


def _count(atoms: Atoms, axis: Axis) -> None:
    if axis is not None:
        atoms.counted.append(axis)


@rule("reduce")
def _reduce(atoms: Atoms, node: ir.Node) -> None:
    x = list(_first(atoms, node))
    given = const(node.inputs[1]) if len(node.inputs) > 1 else None
    if len(node.inputs) > 1 and node.inputs[1] is not None and given is None:
        return keep(atoms, node)
    if node.op_type in ("ArgMax", "ArgMin"):
        axes = [int(attr(node, "axis", 0))]
    else:
        axes = [int(a) for a in given.reshape(-1)] if given is not None and given.size else list(range(len(x)))
    gone = {a % len(x) for a in axes}
    kept = bool(attr(node, "keepdims", 1))
    if atoms.stream and node.op_type == "ReduceMean" and kept and gone == {len(x) - 1}:  # as normalisations take it
        _count(atoms, x[-1])
    else:
        atoms.fix(*(x[a] for a in gone))
    return _all(atoms, node, [None if i in gone else a for i, a in enumerate(x) if kept or i not in gone])

"""Bring Transposes to where they meet others, so that ``merge_moves`` can make one of them.

Given: a graph with inferred shapes.
Result: in multi-head attention as PyTorch's module spells it (time first, the three projections stacked) no tensor is
    transposed twice. A Transpose that keeps the last axis moves past a dense layer (MatMul, Add of a bias) to the
    Transpose that follows, or up to the one before; moves that all slices of a stacked tensor share are done once,
    on the stack.
Refuses when: never; where there is no second Transpose to meet, nothing moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from recast.graph.finding import Finding
from recast.graph.view import attr, const, is_const, rank, sole_consumer, told_dims
from recast.passes import PassOptions
from recast.passes._editor import Editor
from recast.passes.clean import remove_dead

_MOVES = ("Reshape", "Transpose")


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Move them in the model's graph in place."""
    editor = Editor(model.graph)
    moves = [n for n in model.graph if _is_move(n)]
    transposes = [n for n in moves if n.op_type == "Transpose"]
    changed = [_sink(editor, node) for node in transposes]
    changed += [_hoist(editor, node) for node in transposes]
    changed += [_stack(editor, node.outputs[0]) for node in moves]
    if any(changed):
        remove_dead(model.graph)
    return []


def _is_move(node: ir.Node | None) -> bool:
    return node is not None and not node.domain and node.op_type in _MOVES


def _rows(node: ir.Node) -> list[int] | None:
    """The order of axes if the last one stays where it is."""
    perm = attr(node, "perm")
    return list(perm) if perm and perm[-1] == len(perm) - 1 else None


def _meets(node: ir.Node | None, onwards: bool) -> bool:
    """Whether a chain of moves, each used once, holds a Transpose."""
    while node is not None and _is_move(node):
        if node.op_type == "Transpose":
            return True
        source = node.inputs[0]
        if onwards:
            node = sole_consumer(node.outputs[0])
        else:
            node = source.producer() if source is not None and sole_consumer(source) is node else None
    return False


def _sink(editor: Editor, node: ir.Node) -> bool:
    """Transpose → MatMul → Add → moves: the Transpose goes behind the layer."""
    perm, source = _rows(node), node.inputs[0]
    layer = _layer_after(node.outputs[0]) if perm is not None else []
    following = sole_consumer(layer[-1].outputs[0]) if layer else None
    if perm is None or following is None or not _meets(following, True):
        return False
    if following.inputs[0] is not layer[-1].outputs[0] or any(n.graph is not node.graph for n in (*layer, following)):
        return False
    back = [perm.index(i) for i in range(len(perm))]
    layer[0].replace_input_with(0, source)
    result = layer[-1].outputs[0]
    shape = result.shape
    _turn(layer, back)
    moved = editor.node("Transpose", [result], {"perm": perm}, following)
    moved.shape = shape
    following.replace_input_with(0, moved)
    return True


def _hoist(editor: Editor, node: ir.Node) -> bool:
    """Moves → MatMul → Add → Transpose: the Transpose goes in front of the layer."""
    perm, source = _rows(node), node.inputs[0]
    layer = _layer_before(source) if perm is not None and source is not None else []
    given = layer[0].inputs[0] if layer else None
    if perm is None or source is None or given is None or sole_consumer(given) is not layer[0]:
        return False
    if sole_consumer(source) is not node or not _meets(given.producer(), False):
        return False
    layer[0].replace_input_with(0, editor.node("Transpose", [given], {"perm": perm}, layer[0]))
    _turn(layer, perm)
    editor.replace(node.outputs[0], source)
    return True


def _turn(layer: list[ir.Node], perm: list[int]) -> None:
    for node in layer:
        result = node.outputs[0]
        if result.shape is not None:
            result.shape = ir.Shape([result.shape[p] for p in perm])


def _is_product(node: ir.Node | None) -> bool:
    if node is None or node.op_type != "MatMul" or node.domain:
        return False
    weight, given = node.inputs[1], node.inputs[0]
    same = given is not None and rank(given) == rank(node.outputs[0])
    return bool(same and weight is not None and is_const(weight) and rank(weight) == 2)


def _is_bias(node: ir.Node | None, product: ir.Value) -> bool:
    """Whether a node adds a constant along the last axis."""
    if node is None or node.op_type != "Add" or node.domain:
        return False
    others = [v for v in node.inputs if v is not product]
    return len(others) == 1 and others[0] is not None and is_const(others[0]) and (rank(others[0]) or 0) <= 1


def _layer_after(value: ir.Value) -> list[ir.Node]:
    """The dense layer that alone takes a value."""
    product = sole_consumer(value)
    if product is None or not _is_product(product) or product.inputs[0] is not value:
        return []
    bias = sole_consumer(product.outputs[0])
    return [product, bias] if bias is not None and _is_bias(bias, product.outputs[0]) else [product]


def _layer_before(value: ir.Value) -> list[ir.Node]:
    """The dense layer that yields a value."""
    last = value.producer()
    if last is None:
        return []
    if _is_product(last):
        return [last]
    products = [v.producer() for v in last.inputs if v is not None]
    found = next((p for p in products if p is not None and _is_product(p)), None)
    whole = found is not None and _is_bias(last, found.outputs[0]) and sole_consumer(found.outputs[0]) is last
    return [found, last] if whole and found is not None else []


def _stack(editor: Editor, value: ir.Value) -> bool:
    """Slices along axis 0 that all go through the same moves: the stack goes through them first."""
    slices = [use.node for use in value.uses()]
    if len(slices) < 2 or value.is_graph_output() or not all(_is_slice(n, value) for n in slices):
        return False
    chains = [_chain(n) for n in slices]
    count = _common(chains)
    if not count or value.shape is None or not isinstance(value.shape[0], int):
        return False
    stacked: ir.Value = value
    usual: list[int] = []
    for moves in list(zip(*chains, strict=False))[:count]:
        before = stacked.shape
        if moves[0].op_type == "Transpose":
            usual = _usual(moves)
            perm = [0, *(p + 1 for p in usual)]
            stacked = editor.node("Transpose", [stacked], {"perm": perm}, slices[0])
            stacked.shape = ir.Shape([before[p] for p in perm]) if before is not None else None
            continue
        target, old = const(moves[0].inputs[1]), moves[0].outputs[0].shape
        assert target is not None
        whole = np.array([value.shape[0], *target.reshape(-1).tolist()], np.int64)
        stacked = editor.node("Reshape", [stacked, editor.const(whole, "shape")], None, slices[0])
        stacked.shape = ir.Shape([value.shape[0], *old]) if old is not None else stacked.shape
    for node, chain in zip(slices, chains, strict=True):
        last = chain[count - 1]
        taken = editor.node("Gather", [stacked, node.inputs[1]], {"axis": 0}, last)
        if last.op_type == "Transpose" and (rest := _rest(usual, attr(last, "perm"))) is not None:
            taken = editor.node("Transpose", [taken], {"perm": rest}, last)
        taken.shape = last.outputs[0].shape
        editor.replace(last.outputs[0], taken)
    return True


def _usual(moves: Sequence[ir.Node]) -> list[int]:
    """The order that most of the Transposes give."""
    perms: list[tuple[int, ...]] = [tuple(attr(m, "perm")) for m in moves]
    return list(Counter(perms).most_common(1)[0][0])


def _rest(first: list[int], whole: Sequence[int]) -> list[int] | None:
    """What is left of a Transpose after another one; None: nothing."""
    found = [first.index(axis) for axis in whole]
    return found if found != sorted(found) else None


def _is_slice(node: ir.Node, value: ir.Value) -> bool:
    if node.op_type != "Gather" or node.domain or attr(node, "axis", 0) != 0 or node.inputs[0] is not value:
        return False
    index = const(node.inputs[1])
    return index is not None and index.ndim == 0 and node.graph is value.graph


def _chain(node: ir.Node) -> list[ir.Node]:
    """The moves behind a node, each the only user of the one before."""
    found: list[ir.Node] = []
    following = sole_consumer(node.outputs[0])
    while following is not None and _is_move(following) and following.graph is node.graph:
        if following.op_type == "Transpose" and attr(following, "perm") is None:
            break
        if following.op_type == "Reshape" and (const(following.inputs[1]) is None or attr(following, "allowzero", 0)):
            break
        found.append(following)
        following = sole_consumer(following.outputs[0])
    return found


def _common(chains: list[list[ir.Node]]) -> int:
    """How many moves all chains begin with; the last one may be Transposes that differ in what is left to do."""
    count = 0
    for moves in zip(*chains, strict=False):
        if len({m.op_type for m in moves}) != 1:
            break
        if moves[0].op_type == "Transpose":
            count += 1
            if len({tuple(attr(m, "perm")) for m in moves}) > 1:
                break
            continue
        result = told_dims(moves[0].outputs[0])
        if result is None or any(told_dims(m.outputs[0]) != result for m in moves):
            break
        count += 1
    return count

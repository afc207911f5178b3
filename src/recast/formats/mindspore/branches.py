"""A Switch that depends on data becomes an If: its functions are built into two sub-graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from recast.formats.mindspore.reading import Refusal
from recast.graph import OPSET

if TYPE_CHECKING:
    from recast.formats.mindspore.read import Reader


@dataclass(frozen=True)
class Branch:
    """What a Switch gives: one of two functions, to be called."""

    condition: ir.Value
    then: Any
    otherwise: Any


def branched(reader: Reader, branch: Branch, run: Callable[[Any], Any]) -> Any:
    """The result of calling a branch; ``run`` evaluates one of its functions.

    Raises:
        Refusal: the functions give different numbers, types or shapes of tensors.
    """
    sides = [_side(reader, run, function) for function in (branch.then, branch.otherwise)]
    (then, shaped), (otherwise, other) = sides
    if shaped != other or [_kind(v) for v in then.outputs] != [_kind(v) for v in otherwise.outputs]:
        raise Refusal("its branches give different tensors")
    condition = branch.condition
    if condition.shape is not None and len(condition.shape):
        condition = reader.builder.op("Reshape", [condition, reader.builder.const([], "int64")])
    attributes = {
        "then_branch": ir.AttrGraph("then_branch", then),
        "else_branch": ir.AttrGraph("else_branch", otherwise),
    }
    made = reader.builder.node("If", [condition], attributes, len(then.outputs))
    for value, inner in zip(made, then.outputs, strict=True):
        value.shape, value.type = inner.shape, inner.type
    return made if shaped else made[0]


def _kind(value: ir.Value) -> tuple[Any, ...]:
    return value.dtype, None if value.shape is None else tuple(str(d) for d in value.shape)


def _side(reader: Reader, run: Callable[[Any], Any], function: Any) -> tuple[ir.Graph, bool]:
    """One function as a sub-graph, and whether it gives a tuple; weights stay in the graph around it."""
    builder = reader.builder
    around, builder.nodes = builder.nodes, []
    try:
        result = run(function)
        parts = result if isinstance(result, tuple) else (result,)
        if any(isinstance(p, tuple) for p in parts):
            raise Refusal("its branches give tuples of tuples")
        outputs = [builder.op("Identity", [reader.value(p)]) for p in parts]
        nodes = builder.nodes
    finally:
        builder.nodes = around
    graph = ir.Graph([], outputs, nodes=nodes, opset_imports={"": OPSET}, name=builder.unique("branch"))
    return graph, isinstance(result, tuple)

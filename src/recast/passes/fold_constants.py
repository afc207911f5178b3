"""Compute what does not depend on the inputs, above all shape arithmetic.

Given: a graph with inferred shapes.
Result: nodes whose inputs are all constant become initializers (results up to 1 MB); so do ``Shape`` of known dims and
    the integer arithmetic on it. A Reshape to a computed shape whose unknown entries are dims of its input gets a
    constant shape (``0`` copies, ``-1`` infers), and an Expand too (1 stretches to what is there). An If that always
    goes one way becomes that branch. Quantised weights stay: QuantizeLinear, DequantizeLinear are not run.
Refuses when: never; what cannot be told stays a node (random operators, sub-graphs, unknown or large results).
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import onnx
import onnx_ir as ir

from recast.graph import OPSET
from recast.graph.finding import Finding
from recast.graph.infer import refine_node
from recast.graph.view import const, is_const, static_shape
from recast.ops import fact
from recast.passes import PassOptions
from recast.passes._branches import inline, taken
from recast.passes._editor import Editor, has_graphs, tensor_of
from recast.passes._partial import Entry, Partial, evaluate
from recast.passes._tied import kept
from recast.passes.clean import remove_dead

_MOST_BYTES = 1 << 20
_MOST_INPUT_BYTES = 16 << 20
_LEFT = {"image", "recurrent", "resize", "trailing", "fixed"}  # not computed, but for:
_FIXED = {"ConstantOfShape", "Range", "OneHot", "Trilu", "EyeLike", "GatherND", "GatherElements", "ScatterND"}
_NEVER = {"QuantizeLinear", "DequantizeLinear", "Dropout", "Identity"}


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Fold the constants of the model's graph in place."""
    with kept(model.graph, options.keep_tied):
        _fold(model.graph)
    return []


def _fold(graph: ir.Graph) -> None:
    editor = Editor(graph)
    known: dict[ir.Value, Partial] = {}
    changed: set[ir.Value] = set()
    pending = deque(graph)
    while pending:
        node = pending.popleft()
        branch = taken(node)
        if branch is not None:
            inlined = inline(editor, node, branch)
            changed.update(v for n in inlined for v in n.inputs if v is not None)
            pending.extendleft(reversed(inlined))
            continue
        if node.domain != "" or has_graphs(node):
            continue
        if any(v in changed for v in node.inputs) or any(v.shape is None for v in node.outputs):
            _infer_again(node, changed)
        partial = evaluate(node, known)
        if partial is not None:
            known[node.outputs[0]] = partial
        results = None
        if partial is not None and all(isinstance(d, int) for d in partial.entries):
            results = [partial.array(node.outputs[0].dtype)]
        elif node.inputs and all(v is None or is_const(v) for v in node.inputs):
            results = compute(node)
        if results is not None:
            _make_constant(editor, node, results, changed)
        elif node.op_type in ("Reshape", "Expand") and not is_const(node.inputs[1]) and node.inputs[1] in known:
            (_reshape if node.op_type == "Reshape" else _expand)(editor, node, known[node.inputs[1]], changed)
        elif node.op_type == "Range":
            _count(node, known, changed)
    remove_dead(graph)


def _make_constant(editor: Editor, node: ir.Node, results: list[np.ndarray], changed: set[ir.Value]) -> None:
    for value, array in zip(node.outputs, results, strict=True):
        if value.is_graph_output() or not value.uses():
            continue
        made = editor.weight(value.name or "const", array)
        ir.convenience.replace_all_uses_with(value, made)
        changed.add(made)


def _infer_again(node: ir.Node, changed: set[ir.Value]) -> None:
    """Infer shapes anew after an input changed; what was known before is not lost."""
    before = [None if v.shape is None else list(v.shape) for v in node.outputs]
    refine_node(node)
    for value, old in zip(node.outputs, before, strict=True):
        if old != (None if value.shape is None else list(value.shape)):
            changed.add(value)


def compute(node: ir.Node) -> list[np.ndarray] | None:
    """The results of a node of constants by ONNX's reference operators, or None where they may be large or unsafe."""
    facts = fact(node.op_type)
    if facts is None or node.op_type in _NEVER or (facts.kind in _LEFT and node.op_type not in _FIXED):
        return None
    if node.op_type == "Range":
        return _range(node)
    size = 0
    for value in node.outputs:
        shape = static_shape(value)
        if shape is None or value.dtype is None:
            return None
        size += math.prod(shape) * max(1, math.ceil(value.dtype.itemsize))
    given = [v for v in node.inputs if v is not None]
    if size > _MOST_BYTES or sum(tensor_of(v).nbytes for v in given) > _MOST_INPUT_BYTES:
        return None
    if any(v.dtype is None or v.dtype == ir.DataType.STRING for v in (*given, *node.outputs)):
        return None
    return _reference(node)


def _range(node: ir.Node) -> list[np.ndarray] | None:
    """A Range of constants; runtimes take vectors of one element too, of which inference knows no length."""
    ends = [const(v) for v in node.inputs]
    if any(e is None or e.size != 1 for e in ends):
        return None
    start, limit, delta = (e.item() for e in ends if e is not None)
    dtype = node.inputs[0].dtype if node.inputs[0] is not None else None
    if dtype is None or delta == 0 or (limit - start) / delta * dtype.itemsize > _MOST_BYTES:
        return None
    return [np.arange(start, limit, delta).astype(dtype.numpy())]


def _reference(node: ir.Node) -> list[np.ndarray] | None:
    from onnx.reference import ReferenceEvaluator

    names = [f"i{i}" if v is not None else "" for i, v in enumerate(node.inputs)]
    proto = onnx.helper.make_node(node.op_type, names, [f"o{i}" for i in range(len(node.outputs))])
    proto.attribute.extend(ir.serde.serialize_attribute(a) for a in node.attributes.values())
    feeds = {f"i{i}": const(v) for i, v in enumerate(node.inputs) if v is not None}
    inputs = [onnx.ValueInfoProto(name=n) for n in feeds]
    outputs = [onnx.ValueInfoProto(name=n) for n in proto.output]
    graph = onnx.helper.make_graph([proto], "one", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)])
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, feeds)
    except Exception:  # whatever the reference cannot do stays a node
        return None
    arrays = [np.asarray(r) for r in results]
    for array, value in zip(arrays, node.outputs, strict=True):
        if value.dtype is None or array.dtype != value.dtype.numpy() or array.shape != static_shape(value):
            return None
    return arrays


def _reshape(editor: Editor, node: ir.Node, wanted: Partial, changed: set[ir.Value]) -> None:
    """Write a computed target shape as a constant: unknown entries that copy a dim become 0, one other becomes -1."""
    source = node.inputs[0]
    if source is None or source.shape is None or wanted.scalar:
        return
    dims = [d if isinstance(d, int) else d.value for d in source.shape]
    target = []
    for index, entry in enumerate(wanted.entries):
        if isinstance(entry, int):
            target.append(entry)
        elif entry is not None and index < len(dims) and dims[index] == entry:
            target.append(0)
        else:
            target.append(-1)
    explicit_zero = any(e == 0 for e in wanted.entries)
    if target.count(-1) <= 1 and not explicit_zero:
        node.attributes.pop("allowzero", None)  # 0 now copies a dim, which is right for empty ones too
        node.replace_input_with(1, editor.const(target, "shape"))
        _infer_again(node, changed)
    elif not explicit_zero and node.outputs[0].shape is not None:
        _name(node.outputs[0], wanted, changed)


def _name(result: ir.Value, wanted: Partial, changed: set[ir.Value]) -> None:
    """Names in a computed shape are the names of the result's dims."""
    old = list(result.shape or ())
    if len(old) == len(wanted.entries):
        dims = [w if isinstance(w, str) else o for o, w in zip(old, wanted.entries, strict=True)]
        dims = [w if isinstance(w, int) and w >= 0 else d for d, w in zip(dims, wanted.entries, strict=True)]
        result.shape = ir.Shape(dims)
        changed.add(result)


def _expand(editor: Editor, node: ir.Node, wanted: Partial, changed: set[ir.Value]) -> None:
    """Write a computed shape as a constant: a dim that the input has needs no telling, for 1 stretches to it."""
    source = node.inputs[0]
    if source is None or source.shape is None or wanted.scalar:
        return
    dims: list[Entry] = [1] * (len(wanted.entries) - len(source.shape))
    dims += [d if isinstance(d, int) else d.value for d in source.shape]
    target = [e if isinstance(e, int) else 1 if e == d else None for e, d in zip(wanted.entries, dims, strict=False)]
    if len(dims) == len(wanted.entries) and None not in target and None not in wanted.entries:
        node.replace_input_with(1, editor.const(target, "shape"))
        _infer_again(node, changed)
    elif node.outputs[0].shape is not None and len(dims) == len(wanted.entries):
        broad = [d if e == 1 else e for e, d in zip(wanted.entries, dims, strict=True)]
        told = zip(node.outputs[0].shape, broad, strict=True)
        node.outputs[0].shape = ir.Shape(
            [b if isinstance(a, ir.SymbolicDim) and a.value is None else a for a, b in told]
        )
        changed.add(node.outputs[0])


def _count(node: ir.Node, known: dict[ir.Value, Partial], changed: set[ir.Value]) -> None:
    """``Range(0, n, 1)`` has length n, also where n is a name."""
    start, stop, step = node.inputs
    limit = known.get(stop) if stop is not None else None
    shape = node.outputs[0].shape
    if limit is None or const(start) != 0 or const(step) != 1 or len(limit.entries) != 1 or limit.entries[0] is None:
        return
    if shape is not None and len(shape) == 1 and isinstance(shape[0], ir.SymbolicDim) and shape[0].value is None:
        node.outputs[0].shape = ir.Shape([limit.entries[0]])
        changed.add(node.outputs[0])

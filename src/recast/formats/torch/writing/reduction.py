"""Reductions, arg-reductions, cumulative sums and sorting."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.torch.writing import Refuse, writes
from recast.formats.torch.writing._emitter import Emitter
from recast.formats.torch.writing._types import FLOATS, WIDE_UNSIGNED
from recast.formats.torch.writing.elementwise import comparable, compared, input_type
from recast.formats.torch.writing.reshape import rank_of
from recast.graph import view

_REDUCTIONS = {
    "ReduceSum": "{x}.sum({a})", "ReduceMean": "{x}.mean({a})", "ReduceMax": "{x}.amax({a})",
    "ReduceMin": "{x}.amin({a})", "ReduceL1": "{x}.abs().sum({a})", "ReduceL2": "{x}.square().sum({a}).sqrt()",
    "ReduceSumSquare": "{x}.square().sum({a})", "ReduceLogSum": "{x}.sum({a}).log()",
    "ReduceLogSumExp": "torch.logsumexp({x}, {a})",
}  # fmt: skip


@writes(*_REDUCTIONS)
def reduce(e: Emitter, node: ir.Node) -> str:
    x = e.x(node)
    axes = e.ints(node, 1)
    runtime = e.value(node, 1) is not None and axes is None
    empty = axes is None or not axes.items
    noop = bool(view.attr(node, "noop_with_empty_axes", 0))
    if noop and empty and not runtime:
        return _no_axes(node, x)
    if runtime:
        listed = f"({e.x(node, 1)}.tolist() or list(range({x}.dim())))"
    elif axes is None or empty:
        listed = str(list(range(rank_of(node))))
    else:
        listed = axes.args() if len(axes.items) == 1 else f"[{axes.args()}]"
    code = _reduced(e, node, f"{listed}{', keepdim=True' if view.attr(node, 'keepdims', 1) else ''}")
    return f"{code} if {e.x(node, 1)}.numel() else {_no_axes(node, x)}" if runtime and noop else code


def _reduced(e: Emitter, node: ir.Node, arguments: str) -> str:
    x, kind, pattern = e.x(node), input_type(node), _REDUCTIONS[node.op_type]
    extreme = node.op_type in ("ReduceMax", "ReduceMin")
    if extreme and 0 in (view.static_shape(_input(node)) or ()):
        return _empty_extreme(e, node)
    if kind in FLOATS:
        return pattern.format(x=x, a=arguments)
    back = f".to({e.dtype(node.outputs[0])})"
    if extreme and kind == ir.DataType.UINT64:
        return compared(e, node, pattern.format(x=comparable(e, node, 0), a=arguments))
    if extreme:
        wide = f"{x}.to(torch.int64)" if kind in WIDE_UNSIGNED or kind == ir.DataType.BOOL else x
        return pattern.format(x=wide, a=arguments) + back
    if node.op_type == "ReduceMean":
        return f"{x}.to(torch.float64).mean({arguments}).trunc(){back}"
    roots = node.op_type in ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp")
    return pattern.format(x=f"{x}.to(torch.{'float64' if roots else 'int64'})", a=arguments) + back


def _input(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    if value is None:
        raise Refuse("its input is missing")
    return value


def _empty_extreme(e: Emitter, node: ir.Node) -> str:
    """The largest (smallest) of no elements: the least (greatest) number of the type."""
    shape, kind = view.static_shape(node.outputs[0]), e.dtype(node.outputs[0])
    if shape is None:
        raise Refuse("the largest of no elements, of unknown shape")
    largest = node.op_type == "ReduceMax"
    if input_type(node) in FLOATS:
        fill = "-math.inf" if largest else "math.inf"
    elif input_type(node) == ir.DataType.BOOL:
        fill = str(not largest)
    else:
        fill = f"torch.iinfo({kind}).{'min' if largest else 'max'}"
    return f"torch.full({shape}, {fill}, dtype={kind}, device={e.x(node)}.device)"


def _no_axes(node: ir.Node, x: str) -> str:
    """What is left of a reduction over no axis at all."""
    if input_type(node) in WIDE_UNSIGNED:
        wide = f"{x}.to(torch.float64).log()" if "Log" in node.op_type else f"{x}.to(torch.int64).square()"
        kept = node.op_type not in ("ReduceLogSum", "ReduceSumSquare")
        return f"{x}.clone()" if kept else f"{wide}.to({x}.dtype)"
    return {
        "ReduceL1": f"{x}.abs()", "ReduceL2": f"{x}.abs()", "ReduceSumSquare": f"{x}.square()",
        "ReduceLogSum": f"{x}.log()",
    }.get(node.op_type, f"{x}.clone()")  # fmt: skip


@writes("ReduceProd")
def reduce_prod(e: Emitter, node: ir.Node) -> str:
    x, rank = e.x(node), rank_of(node)
    axes = e.ints(node, 1)
    keep = bool(view.attr(node, "keepdims", 1))
    if input_type(node) in WIDE_UNSIGNED:
        x = f"{x}.to(torch.int64)"
    if e.value(node, 1) is not None and (axes is None or axes.constant is None):
        back = f".to({e.dtype(node.outputs[0])})" if input_type(node) in WIDE_UNSIGNED else ""
        noop = bool(view.attr(node, "noop_with_empty_axes", 0))
        return f"{e.helper('reduce_prod')}({x}, {e.list_code(node, 1)}, {keep}, {noop}){back}"
    numbers = axes.constant if axes is not None else None
    if not numbers and view.attr(node, "noop_with_empty_axes", 0):
        return f"{e.x(node)}.clone()"
    listed = sorted((a % rank for a in numbers), reverse=True) if numbers else list(reversed(range(rank)))
    back = "" if input_type(node) in FLOATS else f".to({e.dtype(node.outputs[0])})"
    return x + "".join(f".prod({a}, keepdim={keep})" for a in listed) + back


@writes("ArgMax", "ArgMin")
def arg(e: Emitter, node: ir.Node) -> str:
    x, axis = e.x(node), view.attr(node, "axis", 0)
    keep = ", keepdim=True" if view.attr(node, "keepdims", 1) else ""
    call = node.op_type.lower()
    if input_type(node) in WIDE_UNSIGNED:
        x = comparable(e, node, 0)
    if view.attr(node, "select_last_index", 0):
        return f"{x}.shape[{axis}] - 1 - {x}.flip({axis}).{call}({axis}{keep})"
    return f"{x}.{call}({axis}{keep})"


@writes("CumSum", "CumProd")
def cumulative(e: Emitter, node: ir.Node) -> str:
    axis = e.const(node, 1)
    place = str(int(axis.reshape(-1)[0])) if axis is not None else f"int({e.x(node, 1)})"
    flags = "".join(f", {n}=True" for n in ("exclusive", "reverse") if view.attr(node, n, 0))
    call = "cumulative_sum" if node.op_type == "CumSum" else "cumulative_product"
    wide = input_type(node) in WIDE_UNSIGNED
    x = f"{e.x(node)}.to(torch.int64)" if wide else e.x(node)
    kind = e.dtype(node.outputs[0])
    back = f".to({kind})" if wide else ""
    if not flags:
        return f"{x}.{node.op_type.lower()}({place}, dtype={'torch.int64' if wide else kind}){back}"
    return f"{e.helper(call)}({x}, {place}{flags}){back}"


@writes("TopK")
def top_k(e: Emitter, node: ir.Node) -> str:
    count = e.ints(node, 1)
    k = count.items[0] if count is not None else f"int({e.x(node, 1)})"
    axis, largest = view.attr(node, "axis", -1), bool(view.attr(node, "largest", 1))
    return f"{e.helper('top_k')}({e.x(node)}, {k}, {axis}, {largest})"


@writes("Unique")
def unique(e: Emitter, node: ir.Node) -> str:
    args = f"{view.attr(node, 'axis')}, {bool(view.attr(node, 'sorted', 1))}"
    cut = f"[:{len(node.outputs)}]" if len(node.outputs) > 1 else "[0]"
    return f"{e.helper('unique')}({e.x(node)}, {args}){cut}"


@writes("NonZero")
def non_zero(e: Emitter, node: ir.Node) -> str:
    x = f"({e.x(node)} != 0)" if input_type(node) in WIDE_UNSIGNED else e.x(node)
    return f"{x}.nonzero().T"


@writes("Trilu")
def trilu(e: Emitter, node: ir.Node) -> str:
    k = e.ints(node, 1)
    diagonal = "0" if e.value(node, 1) is None else k.items[0] if k is not None else f"int({e.x(node, 1)})"
    return f"{e.x(node)}.{'triu' if view.attr(node, 'upper', 1) else 'tril'}({diagonal})"


@writes("EyeLike")
def eye_like(e: Emitter, node: ir.Node) -> str:
    x = e.x(node)
    k = view.attr(node, "k", 0)
    kind = e.dtype(node.outputs[0])
    if node.outputs[0].dtype in WIDE_UNSIGNED:
        return f"torch.ones_like({x}, dtype=torch.int64).triu({k}).tril({k}).to({kind})"
    return f"torch.ones_like({x}, dtype={kind}).triu({k}).tril({k})"


@writes("Compress")
def compress(e: Emitter, node: ir.Node) -> str:
    axis = view.attr(node, "axis")
    x = e.x(node) if axis is not None else f"{e.x(node)}.flatten()"
    return f"{x}.index_select({axis or 0}, {e.x(node, 1)}.nonzero().flatten())"


@writes("Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial")
def random(e: Emitter, node: ir.Node) -> str:
    raise Refuse("its result is random: no conversion of it can be verified")

"""Matrix products: dense layers, attention, Einsum."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.mindspore.types import NCHW
from recast.formats.mindspore.write import Arg, Ref, Writer, scalar
from recast.formats.mindspore.writing import Refusal, writes
from recast.formats.mindspore.writing.elementwise import value_of
from recast.graph.view import attr, dims, static_shape


@writes("Gemm")
def gemm(w: Writer, node: ir.Node) -> None:
    a, b = value_of(node), value_of(node, 1)
    result = w.fn("MatMul", a, b, bool(attr(node, "transA", 0)), bool(attr(node, "transB", 0)))
    alpha, beta = attr(node, "alpha", 1.0), attr(node, "beta", 1.0)
    if alpha != 1.0:
        result = w.fn("Mul", result, scalar(alpha, a))
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and beta != 0.0:
        held: Arg = bias if beta == 1.0 else w.fn("Mul", bias, scalar(beta, a))
        whole = static_shape(bias) == (dims(node.outputs[0])[1],)
        result = w.fn("BiasAdd", result, held, NCHW) if whole else w.fn("Add", result, held)
    w.bind(node.outputs[0], result)


@writes("MatMul")
def matmul(w: Writer, node: ir.Node) -> None:
    a, b = value_of(node), value_of(node, 1)
    w.bind(node.outputs[0], product(w, a, b, (len(dims(a)), len(dims(b)))))


def product(w: Writer, a: Arg, b: Arg, ranks: tuple[int, int]) -> Ref:
    """NumPy's matmul."""
    if ranks == (2, 2):
        return w.fn("MatMul", a, b, False, False)
    return w.fn("MatMulExt", a, b)


@writes("Einsum")
def einsum(w: Writer, node: ir.Node) -> None:
    equation = str(attr(node, "equation", "")).replace(" ", "")
    left, arrow, out = equation.partition("->")
    terms = left.split(",")
    if not arrow:
        joined = left.replace(",", "")
        out = "".join(sorted(c for c in set(joined) if joined.count(c) == 1))
    if "." in equation or len(terms) > 2 or any(len(set(t)) != len(t) for t in (*terms, out)):
        raise Refusal(f"Einsum '{equation}' is not a plain product of one or two tensors")
    if len(terms) == 1:
        result = _reduced(w, value_of(node), terms[0], out)
    else:
        result = _product(w, (value_of(node), value_of(node, 1)), (terms[0], terms[1]), out)
    w.bind(node.outputs[0], result)


def _reduced(w: Writer, x: Arg, term: str, out: str) -> Ref:
    """Sum over the letters that are not wanted, then bring the others into order."""
    gone = tuple(i for i, c in enumerate(term) if c not in out)
    result = w.fn("ReduceSum", x, gone, False, False) if gone else x
    kept = [c for c in term if c in out]
    return w.fn("Transpose", result, tuple(kept.index(c) for c in out))


def _product(w: Writer, operands: tuple[ir.Value, ir.Value], terms: tuple[str, str], out: str) -> Ref:
    """Each operand gets all letters as dimensions of size 1 where it lacks them; multiply or matmul, then sum.

    Letters: batch (both and out), left, right, and summed (both, not out).
    """
    a, b = terms
    batch = [c for c in a if c in b and c in out]
    summed = [c for c in a if c in b and c not in out]
    left, right = [c for c in a if c not in b and c in out], [c for c in b if c not in a and c in out]
    x = _ordered(w, operands[0], a, [*batch, *left, *summed])
    y = _ordered(w, operands[1], b, [*batch, *summed, *right])
    if len(left) == len(summed) == len(right) == 1:
        made = product(w, x, y, (len(batch) + 2, len(batch) + 2))
    else:  # broadcast: every letter is a dimension of its own
        x = _ordered(w, operands[0], a, [*batch, *left, *summed])
        for i in range(len(right)):
            x = w.fn("ExpandDims", x, len(batch) + len(left) + i)
        y = _ordered(w, operands[1], b, [*batch, *right, *summed])
        for _ in left:
            y = w.fn("ExpandDims", y, len(batch))
        made = w.fn("Mul", x, y)
        first = len(batch) + len(left) + len(right)
        if summed:
            made = w.fn("ReduceSum", made, tuple(range(first, first + len(summed))), False, False)
    now = [*batch, *left, *right]
    return w.fn("Transpose", made, tuple(now.index(c) for c in out))


def _ordered(w: Writer, x: Arg, term: str, wanted: list[str]) -> Ref:
    gone = tuple(i for i, c in enumerate(term) if c not in wanted)
    held = w.fn("ReduceSum", x, gone, False, False) if gone else x
    kept = [c for c in term if c in wanted]
    return w.fn("Transpose", held, tuple(kept.index(c) for c in wanted))

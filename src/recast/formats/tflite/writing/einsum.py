"""Einsum of one or two tensors: sums, transposes and one batched matrix product."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.writing import Refused, writes
from recast.formats.tflite.writing.emitter import Emitter
from recast.graph import view


@writes("Einsum")
def einsum(w: Emitter, node: ir.Node) -> None:
    """Letters of both inputs and the output are batch, of both only are contracted, of one only are summed."""
    equation = str(view.attr(node, "equation")).replace(" ", "")
    if "..." in equation:
        raise Refused("an Einsum with '...'")
    left_side, arrow, out = equation.partition("->")
    terms = left_side.split(",")
    if not arrow:
        joined = "".join(terms)
        out = "".join(sorted(c for c in set(joined) if joined.count(c) == 1))
    if len(terms) > 2 or any(len(set(t)) != len(t) for t in (*terms, out)):
        raise Refused(f"Einsum '{equation}': more than two inputs, or a diagonal")
    sizes: dict[str, int] = {}
    tensors = [w.take(v) for v in node.inputs]
    for term, index in zip(terms, tensors, strict=True):
        for letter, size in zip(term, w.shape(index), strict=True):
            sizes[letter] = max(size, sizes.get(letter, -1))
    parts = []
    for position, (term, index) in enumerate(zip(terms, tensors, strict=True)):
        others = out + "".join(t for i, t in enumerate(terms) if i != position)
        parts.append(_sum_out(w, term, index, others))
    target = w.put(node.outputs[0])
    if len(parts) == 1:
        letters, index = parts[0]
        _permuted(w, index, letters, out, target)
        return
    _product(w, parts, (out, sizes), target)


def _sum_out(w: Emitter, term: str, index: int, kept: str) -> tuple[str, int]:
    """Sum over the letters that appear nowhere else."""
    axes = [i for i, c in enumerate(term) if c not in kept]
    if not axes:
        return term, index
    shape = [d for i, d in enumerate(w.shape(index)) if i not in axes]
    return "".join(c for c in term if c in kept), w.then(
        "SUM", [index, w.ints(axes)], shape, ("ReducerOptions", {"keep_dims": False})
    )


def _permuted(w: Emitter, index: int, letters: str, wanted: str, target: int | None = None) -> int:
    perm = [letters.index(c) for c in wanted]
    if target is not None and perm == sorted(perm):
        return w.reshape(index, w.shape(index), target)
    if target is not None:
        w.op("TRANSPOSE", [index, w.ints(perm)], [target], ("TransposeOptions", {}))
        return target
    return index if perm == sorted(perm) else w.transpose(index, perm)


def _product(w: Emitter, parts: list[tuple[str, int]], end: tuple[str, dict[str, int]], target: int) -> None:
    (a, left), (b, right) = parts
    out, sizes = end
    batch = "".join(c for c in out if c in a and c in b)
    inner = "".join(c for c in a if c in b and c not in out)
    rows = "".join(c for c in out if c in a and c not in b)
    columns = "".join(c for c in out if c in b and c not in a)

    def flat(*groups: str) -> tuple[int, ...]:
        merged = tuple(_size(g, sizes) for g in groups)
        if sum(d < 0 for d in merged) > 1:
            raise Refused("an Einsum with several dimensions that are only known at run time")
        return merged

    x = w.reshape(_permuted(w, left, a, batch + rows + inner), flat(batch, rows, inner))
    y = w.reshape(_permuted(w, right, b, batch + inner + columns), flat(batch, inner, columns))
    product = w.then("BATCH_MATMUL", [x, y], flat(batch, rows, columns), ("BatchMatMulOptions", {}))
    letters = batch + rows + columns
    shape = [sizes[c] for c in letters]
    if letters == out:
        w.reshape(product, shape, target)
        return
    _permuted(w, w.reshape(product, shape), letters, out, target)


def _size(letters: str, sizes: dict[str, int]) -> int:
    dims = [sizes[c] for c in letters]
    return -1 if any(d < 0 for d in dims) else int(np.int64(math.prod(dims)))

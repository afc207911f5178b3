"""Operators that move numbers, and matrix products."""

from __future__ import annotations

import numpy as np

from recast.formats.openvino.call import Call
from recast.formats.openvino.reading import reads


def _indices(c: Call, place: int) -> list[int]:
    return [int(i) for i in c.const(place).reshape(-1)]


@reads("Reshape")
def reshape(c: Call) -> None:
    """``special_zero``: a 0 in the shape keeps the dimension."""
    special = c.flag("special_zero", True)
    target = c.b.const(_indices(c, 1), np.int64, "shape")
    c.out(c.b.op("Reshape", [c.x(0), target], {"allowzero": int(not special)}))


@reads("Transpose")
def transpose(c: Call) -> None:
    """An empty order turns all axes round."""
    c.out(c.b.op("Transpose", [c.x(0)], {"perm": _indices(c, 1) or list(range(c.rank(0)))[::-1]}))


@reads("Concat")
def concat(c: Call) -> None:
    """Along one axis."""
    c.out(c.b.op("Concat", c.xs(), {"axis": int(c.text("axis"))}))


@reads("Unsqueeze", "Squeeze")
def squeeze(c: Call) -> None:
    """Add or remove dimensions of size 1."""
    axes = [c.b.const(_indices(c, 1), np.int64, "axes")] if len(c.layer.sources) > 1 else []
    c.choice("allow_axis_skip", "false", ("false",))
    c.out(c.b.op(c.layer.kind, [c.x(0), *axes]))


@reads("Gather")
def gather(c: Call) -> None:
    """Constant indices, so that negative ones (which old opsets take as out of bounds) are seen."""
    if int(c.text("batch_dims", "0")):
        raise c.cannot("batch_dims")
    axis, indices = _indices(c, 2), c.const(1)
    if len(axis) != 1 or (indices.size and indices.min() < 0):
        raise c.cannot("an axis or index that is not plain")
    c.out(c.b.op("Gather", [c.x(0), c.b.const(indices.astype(np.int64), None, "indices")], {"axis": axis[0]}))


@reads("MatMul")
def matmul(c: Call) -> None:
    """A product of matrices, either of them transposed first."""
    sides = []
    for place, name in ((0, "transpose_a"), (1, "transpose_b")):
        side, rank = c.x(place), c.rank(place)
        if c.flag(name, False) and rank > 1:
            perm = [*range(rank - 2), rank - 1, rank - 2]
            held = side.const_value
            side = (
                c.b.op("Transpose", [side], {"perm": perm})
                if held is None
                else c.b.weight(f"{c.layer.name}/weight", np.ascontiguousarray(held.numpy().transpose(perm)))
            )
        sides.append(side)
    c.out(c.b.op("MatMul", sides))


_REDUCES = {
    "ReduceMean": "ReduceMean", "ReduceSum": "ReduceSum", "ReduceMax": "ReduceMax", "ReduceMin": "ReduceMin",
}  # fmt: skip


@reads(*_REDUCES)
def reduce(c: Call) -> None:
    """Over constant axes; none means that nothing is reduced."""
    axes = _indices(c, 1)
    keep = c.flag("keep_dims", False)
    attributes = {"keepdims": int(keep), "noop_with_empty_axes": 1}
    c.out(c.b.op(_REDUCES[c.layer.kind], [c.x(0), c.b.const(axes, np.int64, "axes")], attributes))


@reads("Convert")
def convert(c: Call) -> None:
    """Between plain types."""
    import onnx_ir as ir

    from recast.formats.openvino.names import TYPES

    kind = c.text("destination_type").lower()
    if kind not in TYPES:
        raise c.cannot(f"a conversion to {kind[:40]}")
    to = ir.DataType.BFLOAT16 if kind == "bf16" else ir.DataType.from_numpy(np.dtype(TYPES[kind]))
    if not to.is_floating_point():
        raise c.cannot(f"a conversion to {kind}: runtimes differ in rounding and saturating")
    c.out(c.b.op("Cast", [c.x(0)], {"to": int(to)}))

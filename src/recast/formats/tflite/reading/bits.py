"""Operators on the bits of integers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.tflite.read_call import Call
from recast.formats.tflite.reading import reads
from recast.graph.integers import shift

_WORD = 32


def _width(dtype: ir.DataType | None) -> int:
    return 0 if dtype is None else int(dtype.itemsize * 8)


@reads("BITCAST")
def bitcast(c: Call) -> None:
    """Between integers of one width it is Cast, which wraps around; between widths, words are split or joined."""
    x = c.raw(0)
    kind = c.scope.tensor(c.output(0)).dtype
    wanted = ir.DataType.from_numpy(np.dtype(kind)) if kind != "bool" else ir.DataType.BOOL
    before, after = _width(x.dtype), _width(wanted)
    if before == after:
        whole = all(d is not None and d.is_integer() for d in (x.dtype, wanted))
        c.out_raw(c.cast(x, wanted) if whole else c.b.op("BitCast", [x], {"to": int(wanted)}))
        return
    if {before, after} != {_WORD, 2 * _WORD} or not wanted.is_integer() or x.dtype is None or not x.dtype.is_integer():
        raise c.bad(f"a bit cast from {before} to {after} bits")
    if before > after:
        pair = c.cast(x, ir.DataType.UINT64)
        shift = c.b.const(np.array(_WORD, np.uint64), np.uint64, "width")
        halves = [pair, c.b.op("BitShift", [pair, shift], {"direction": "RIGHT"})]
        axes = c.b.const([-1], np.int64, "axes")
        mask = c.b.const(np.array(2**_WORD - 1, np.uint64), np.uint64, "mask")
        words = [c.b.op("Unsqueeze", [c.b.op("BitwiseAnd", [h, mask]), axes]) for h in halves]
        joined = c.cast(c.b.op("Concat", words, {"axis": -1}), ir.DataType.UINT32)
        c.out_raw(c.cast(joined, wanted))
        return
    pairs = c.cast(c.cast(x, ir.DataType.UINT32), ir.DataType.UINT64)
    low, high = (c.b.op("Gather", [pairs, c.b.const(i, np.int64, "index")], {"axis": -1}) for i in (0, 1))
    shift = c.b.const(np.array(_WORD, np.uint64), np.uint64, "width")
    raised = c.b.op("BitShift", [high, shift], {"direction": "LEFT"})
    c.out_raw(c.cast(c.b.op("BitwiseOr", [raised, low]), wanted))


@reads("RIGHT_SHIFT")
def right_shift(c: Call) -> None:
    """Shifts that copy the sign."""
    x = c.x(0)
    if x.dtype is None or not x.dtype.is_integer():
        raise c.bad("a shift of no integer")
    c.out(shift(c.b, x, c.x(1), left=False))

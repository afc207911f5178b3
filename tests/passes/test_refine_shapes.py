"""Shapes that were lost come back, also through shape arithmetic; those that inference cannot tell stay."""

from __future__ import annotations

import onnx_ir as ir

from recast import passes
from recast.graph.build import Builder
from recast.graph.view import dims


def test_sizes_put_together_while_running_are_known() -> None:
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 3, 7))
    flat = b.op("Reshape", [x, b.const([-1, 21])])
    length = b.op("Shape", [x], {"start": 0, "end": 1})
    wide = b.op("Reshape", [flat, b.op("Concat", [length, b.const([7, 3])], {"axis": 0})])
    told = b.op("Relu", [wide])
    b.output(b.op("Relu", [told]), "y")
    model = b.model()
    wide.shape = None  # as after an inlined function
    told.shape = ir.Shape([None, None, None])
    passes.run(model, ("refine_shapes",), passes.PassOptions())
    assert list(dims(wide))[1:] == [7, 3]
    assert list(dims(told))[1:] == [7, 3]


def test_what_was_known_stays() -> None:
    b = Builder("net")
    x, size = b.input("x", ir.DataType.FLOAT, ("batch", 11)), b.input("size", ir.DataType.INT64, (2,))
    y = b.op("Reshape", [x, size])
    y.shape = ir.Shape(["batch", 11])
    b.output(y, "y")
    model = b.model()
    passes.run(model, ("refine_shapes",), passes.PassOptions())
    assert list(dims(model.graph.outputs[0]))[1] == 11

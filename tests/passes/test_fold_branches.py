"""fold_constants on what exporters write about shapes: If over a known dim, whole slices, targets with allowzero."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from recast.graph.infer import infer_model
from recast.graph.view import const, dims
from recast.passes import PassOptions, fold_constants
from recast.passes.normalise import normalise
from recast.verification.local import GraphRunner


def parsed(text: str) -> ir.Model:
    """A model of ONNX's text form, in the dialect."""
    return normalise(ir.from_proto(onnx.parser.parse_model(text)), "test")


def squeezed(size: str) -> ir.Model:
    """PyTorch's ``x.squeeze(2)``: squeezes if the dim is 1, else passes on."""
    return parsed(f"""
        <ir_version: 10, opset_import: ["" : 21]>
        net (float[batch, 5, {size}] x) => (float[] y) <int64[1] two = {{2}}, int64[1] one = {{1}}> {{
            shape = Shape (x)
            dim = Gather (shape, two)
            is_one = Equal (dim, one)
            picked = If (is_one) <
                then_branch = squeeze () => (float[] then_out) {{ then_out = Squeeze (x, two) }},
                else_branch = pass () => (float[] else_out) {{ else_out = Identity (x) }}
            >
            y = Neg (picked)
        }}""")


@pytest.mark.parametrize(("size", "rank"), [("1", 2), ("7", 3)])
def test_if_over_a_known_dim(size: str, rank: int, rng: np.random.Generator) -> None:
    model = squeezed(size)
    fold_constants.apply(model, PassOptions())
    assert "If" not in {n.op_type for n in model.graph}
    shape = dims(model.graph.outputs[0])
    assert (len(shape), shape[0]) == (rank, "batch")
    x = rng.standard_normal((3, 5, int(size))).astype(np.float32)
    np.testing.assert_array_equal(GraphRunner(model).run({"x": x})["y"], -x if rank == 3 else -x[:, :, 0])


def test_if_over_an_unknown_dim_stays() -> None:
    model = squeezed("length")
    fold_constants.apply(model, PassOptions())
    assert [n.op_type for n in model.graph][-2:] == ["If", "Neg"]
    assert model.graph.outputs[0].shape is None, "its branches have different ranks"


def test_branch_that_is_an_output(rng: np.random.Generator) -> None:
    model = parsed("""
        <ir_version: 10, opset_import: ["" : 21]>
        net (float[2, 3] x) => (float[] y) <bool yes = {1}> {
            y = If (yes) <
                then_branch = a () => (float[] a_out) { half = Constant <value = float {0.5}> ()
                    a_out = Mul (x, half) },
                else_branch = b () => (float[] b_out) { b_out = Identity (x) }
            >
        }""")
    fold_constants.apply(model, PassOptions())
    assert [n.op_type for n in model.graph] == ["Mul"]
    x = rng.standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_array_equal(GraphRunner(model).run({"x": x})["y"], x / 2)


def test_reshape_to_a_shape_with_allowzero(rng: np.random.Generator) -> None:
    model = parsed("""
        <ir_version: 10, opset_import: ["" : 21]>
        net (float[batch, 5, 7] x) => (float[] y) <int64[1] rest = {35}> {
            size = Shape <start = 0, end = 1> (x)
            target = Concat <axis = 0> (size, rest)
            y = Reshape <allowzero = 1> (x, target)
        }""")
    fold_constants.apply(model, PassOptions())
    (node,) = model.graph
    assert (node.op_type, list(const(node.inputs[1])), "allowzero" in node.attributes) == ("Reshape", [0, 35], False)  # type: ignore[arg-type]
    assert dims(model.graph.outputs[0]) == ("batch", 35)
    for batch in (0, 3):
        x = rng.standard_normal((batch, 5, 7)).astype(np.float32)
        assert GraphRunner(model).run({"x": x})["y"].shape == (batch, 35)


def test_whole_slice_keeps_the_name_of_a_dim() -> None:
    model = parsed("""
        <ir_version: 10, opset_import: ["" : 21]>
        net (float[batch, length, 5] x) => (float[] y)
        <int64[2] zero = {0, 0}, int64[2] ends = {9223372036854775807, 3}, int64[2] axes = {0, 1},
         int64[2] step = {1, 1}>
        { y = Slice (x, zero, ends, axes, step) }""")
    infer_model(model)
    assert dims(model.graph.outputs[0])[0] == "batch"
    assert dims(model.graph.outputs[0])[1] != "length"

"""Loops of known length and both branches of an If, written out, compute what ONNX Runtime computes for the loop."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import parser

from recast.passes import PassOptions, run

from .checks import ort_run

HEAD = '<ir_version: 10, opset_import: ["": 23]>'
LOOP = """
main (float[3,5] x) => (float[3,5] y, float[7,3,5] rows) {{
  m = Constant<value_int=7>()
  go = Constant<value = bool {{1}}>()
  y, rows = Loop(m, go, x) <body = body (int64 i, bool c, float[3,5] s) => (bool d, float[3,5] t, float[3,5] r) {{
    j = Cast<to=1>(i)
    u = Add(s, j)
    t = Sin(u)
    r = Mul(t, s)
    {condition}
  }}>
}}
"""
SCAN = """
main (float[3,5] h, float[3,7,5] x) => (float[3,5] y, float[3,7,5] rows) {
  y, rows = Scan<num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1], scan_input_directions=[1],
    body = body (float[3,5] s, float[3,5] e) => (float[3,5] t, float[3,5] r) {
      u = Mul(s, e)
      t = Tanh(u)
      r = Sub(t, e)
    }>(h, x)
}
"""
IF = """
main (float[3,5] x) => (float[3,5] y) {
  m = ReduceMax<keepdims=0>(x)
  z = Constant<value_float=0.5>()
  c = Greater(m, z)
  y = If(c) <then_branch = a () => (float[3,5] p) { p = Sin(x) }, else_branch = b () => (float[3,5] q) { q = Neg(x) }>
}
"""


def left(text: str, feeds: list[dict[str, np.ndarray]]) -> set[str]:
    """Write the loops out, compare with the original, and tell which operators are left."""
    proto = parser.parse_model(HEAD + text)
    model = ir.from_proto(proto)
    before = [ort_run(ir.from_proto(proto), feed) for feed in feeds]
    run(model, ["fold_constants", "unroll_loops"], PassOptions())
    for feed, wanted in zip(feeds, before, strict=True):
        for one, other in zip(wanted, ort_run(model, feed), strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-6)
    return {n.op_type for n in model.graph}


@pytest.mark.parametrize("condition", ["d = Identity(c)", "k = Constant<value_int=9>()\nd = Less(i, k)"])
def test_loop(condition: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 5)).astype(np.float32)
    assert "Loop" not in left(LOOP.format(condition=condition), [{"x": x}])


def test_a_loop_that_its_data_ends_stays(rng: np.random.Generator) -> None:
    ends = "k = ReduceMax<keepdims=0>(t)\nq = Constant<value_float=9.0>()\nd = Less(k, q)"
    x = rng.standard_normal((3, 5)).astype(np.float32)
    assert "Loop" in left(LOOP.format(condition=ends), [{"x": x}])


def test_scan_backwards_along_an_axis(rng: np.random.Generator) -> None:
    feed = {"h": rng.standard_normal((3, 5)).astype(np.float32), "x": rng.standard_normal((3, 7, 5)).astype(np.float32)}
    assert "Scan" not in left(SCAN, [feed])


def test_if_takes_either_branch(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 5)).astype(np.float32)
    assert "If" not in left(IF, [{"x": x + 3}, {"x": -abs(x)}])

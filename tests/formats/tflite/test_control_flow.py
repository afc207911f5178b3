"""Conditions and loops in LiteRT's sub-graphs, and operators without builtins, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from tflite_graphs import Judge

import recast
from recast.recipe import Checking, Recipe, Writing

HEAD = '<ir_version: 10, opset_import: ["" : 23]>\n'
TEXTS = {
    "if": """g (float[n,3] x, bool c) => (float[n,3] y) {
        k = Mul(x, x)
        y = If(c) <then_branch = yes () => (float[n,3] a) { a = Add(k, x) },
                   else_branch = no () => (float[n,3] b) { b = Neg(k) }>
    }""",
    "if-nested": """g (float[n,3] x, bool c) => (float[n,3] y) {
        y = If(c) <then_branch = yes () => (float[n,3] a) {
                       d = Not(c)
                       a = If(d) <then_branch = y2 () => (float[n,3] p) { p = Neg(x) },
                                  else_branch = n2 () => (float[n,3] q) { q = Add(x, x) }> },
                   else_branch = no () => (float[n,3] b) { b = Identity(x) }>
    }""",
    "loop-counted": """g (float[n,3] x, int64 m) => (float[n,3] y, float[k,3] rows) {
        y, rows = Loop(m, ) <body = b (int64 i, bool go, float[n,3] s) => (bool on, float[n,3] t, float[3] row) {
            on = Identity(go)
            t = Add(s, x)
            row = ReduceSum <keepdims = 0> (t, zero) }>
    }""",
    "loop-until": """g (float[n,3] x, int64 m) => (float[n,3] y, float[k] rows) {
        limit = Constant <value_float = 50.0> ()
        y, rows = Loop(m, ) <body = b (int64 i, bool go, float[n,3] s) => (bool on, float[n,3] t, float row) {
            t = Add(s, x)
            a = Abs(t)
            row = ReduceSum <keepdims = 0> (a)
            on = Less(row, limit) }>
    }""",
    "scan": """g (float[n,3] x, int64 m) => (float[3] last, float[3,n] rows) {
        start = Constant <value_floats = [1.0, 2.0, 3.0]> ()
        last, rows = Scan <num_scan_inputs = 1, scan_input_directions = [1], scan_output_axes = [1],
                           body = b (float[3] s, float[3] e) => (float[3] t, float[3] u) {
            p = Mul(s, e)
            t = Tanh(p)
            u = Identity(t) }> (start, x)
    }""",
}


def model(text: str) -> onnx.ModelProto:
    text = text.replace("(m, )", "(m, , x)")
    made = onnx.parser.parse_model(HEAD + text)
    zero = onnx.numpy_helper.from_array(np.array([0], np.int64), "zero")
    made.graph.initializer.append(zero)
    return made


def pairs(name: str, rng: np.random.Generator) -> list[dict[str, np.ndarray]]:
    found = []
    for rows in (1, 5):
        x = rng.normal(size=(rows, 3)).astype(np.float32)
        if name.startswith("if"):
            found += [{"x": x, "c": np.array(c)} for c in (True, False)]
        else:
            found += [{"x": x, "m": np.array(m)} for m in (1, 7)]
    return found


@pytest.mark.parametrize("name", TEXTS)
def test_control(name: str, litert: Judge, tmp_path: Path, rng: np.random.Generator) -> None:
    source, path = tmp_path / "net.onnx", tmp_path / "net.tflite"
    onnx.save(model(TEXTS[name]), source)
    recast.convert(source, path, Recipe(writing=Writing(io_layout="keep"), checking=Checking(verify=False)))
    back = tmp_path / "back.onnx"  # what was written is read, too
    recast.convert(path, back, Recipe(checking=Checking(verify=False)))
    session, again = (ort.InferenceSession(p, providers=["CPUExecutionProvider"]) for p in (source, back))
    for feeds in pairs(name, rng):
        wanted = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))
        _, found = litert.run(path, feeds)
        read = dict(zip(wanted, again.run(list(wanted), feeds), strict=True))
        for key, array in wanted.items():
            for made in (found[key], read[key]):
                assert made.shape == array.shape
                np.testing.assert_allclose(made, array, rtol=2e-5, atol=2e-5)

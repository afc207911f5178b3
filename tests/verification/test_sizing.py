"""What sizes are computed from is not disturbed: a scale of 3 that becomes 2.9999999 would give another size."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.graph.build import Builder
from recast.verification.judge import measure_noise
from recast.verification.oracle import Oracle
from recast.verification.sizing import sizing

F = ir.DataType.FLOAT


def resized() -> ir.Model:
    b = Builder("resized")
    x = b.input("x", F, ("batch", 2, "height", 7))
    height = b.op("Cast", [b.op("Shape", [x], {"start": 2, "end": 3})], {"to": int(F)})
    ones = b.const(np.array([1, 1], np.float32))
    factor = b.op("Div", [b.op("Mul", [height, b.const(np.float32(3))]), height])
    scales = b.op("Concat", [ones, factor, b.const(np.array([3], np.float32))], {"axis": 0})
    y = b.op("Mul", [x, b.weight("gain", np.array([1.5, -0.7], np.float32).reshape(1, 2, 1, 1))])
    y = b.op("Resize", [y, None, scales], {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"})
    b.output(y, "y")
    return b.model()


def test_scales_and_what_they_come_from() -> None:
    model = resized()
    found = sizing(model.graph)
    names = {n.op_type: n.outputs[0].name for n in model.graph}
    assert {names[op] for op in ("Shape", "Cast", "Div", "Concat")} <= found
    assert "x" not in found
    assert "gain" not in found


def test_a_disturbed_run_keeps_the_sizes() -> None:
    oracle = Oracle(resized(), unit=1e-3)
    feeds = {"x": np.random.default_rng(2).standard_normal((3, 2, 11, 7)).astype(np.float32)}
    exact = oracle.run(feeds)
    assert exact["y"].shape == (3, 2, 33, 21)
    for seed in range(5):
        assert oracle.run(feeds, jitter=np.random.default_rng(seed))["y"].shape == exact["y"].shape
    assert np.all(measure_noise(oracle, feeds, exact)["y"] > 0)

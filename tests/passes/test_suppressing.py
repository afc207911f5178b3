"""NonMaxSuppression written out, against ONNX Runtime's own operator, at sizes that are only known at run time."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from recast.graph.build import Builder
from recast.passes import PassOptions, run
from recast.passes.decompose import reason

from .checks import count, ort_run

F32 = ir.DataType.FLOAT


def network(center: int, threshold: float | None, most: int = 5) -> ir.Model:
    b = Builder("boxes")
    boxes, scores = b.input("boxes", F32, ("n", "p", 4)), b.input("scores", F32, ("n", 3, "p"))
    limits = [b.const([most]), b.const([0.4], np.float32)]
    limits += [] if threshold is None else [b.const([threshold], np.float32)]
    b.output(b.op("NonMaxSuppression", [boxes, scores, *limits], {"center_point_box": center}), "y")
    return b.model()


def feeds(rng: np.random.Generator, n: int, p: int) -> dict[str, np.ndarray]:
    """Boxes on a coarse grid, corners in any order, some without area; scores that are often equal."""
    boxes = rng.integers(0, 5, (n, p, 4)).astype(np.float32)
    return {"boxes": boxes, "scores": (rng.integers(0, 7, (n, 3, p)) / 7).astype(np.float32)}


@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize("threshold", [None, 0.3, 0.99])
def test_same_choice(center: int, threshold: float | None, rng: np.random.Generator) -> None:
    model = network(center, threshold)
    plain = model.clone()
    run(plain, ["decompose"], PassOptions(native=lambda node: node.op_type != "NonMaxSuppression"))
    assert not count(plain, "NonMaxSuppression")
    for n, p in ((1, 1), (2, 13), (3, 29)):
        for _ in range(5):
            held = feeds(rng, n, p)
            np.testing.assert_array_equal(ort_run(plain, held)[0], ort_run(model, held)[0])


def test_too_many() -> None:
    model = network(0, 0.3, most=10**6)
    run(model, ["decompose"], PassOptions(native=lambda node: node.op_type != "NonMaxSuppression"))
    left = next(n for n in model.graph if n.op_type == "NonMaxSuppression")
    assert "1000000" in reason(left)

"""GatherND of sizes that are only known at run time: decomposed, against ONNX Runtime's own operator at three sizes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from recast.graph.build import Builder
from recast.graph.integers import never_negative
from recast.passes import PassOptions, run

from .checks import count, ort_run

F32, I64 = ir.DataType.FLOAT, ir.DataType.INT64
# shape of the data, shape of the indices, batch dimensions
CASES = {
    "rows": (("n", 7, 5), (11, 2), 0),
    "both": (("n", "s", 5), ("k", 2), 0),
    "rest": (("n", 7, "s"), (3, "k", 2), 0),
    "batch": (("n", "s", 5), ("n", 2, 1), 1),
    "batches": (("n", 3, "s", 5), ("n", 3, 2, 1), 2),
    "inner": (("n", 3, "s"), ("n", 2), 1),
    "one": (("n", "s"), (2,), 0),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("negative", [False, True])
def test_gather_nd(name: str, negative: bool, rng: np.random.Generator) -> None:
    shape, tuples, batch = CASES[name]
    b = Builder("gather")
    x, indices = b.input("x", F32, shape), b.input("i", I64, tuples)
    b.output(b.op("GatherND", [x, indices], {"batch_dims": batch}), "y")
    model = b.model()
    plain = model.clone()
    run(plain, ["decompose"], PassOptions(native=lambda node: node.op_type != "GatherND"))
    assert not count(plain, "GatherND")
    for sizes in ({"n": 1, "s": 1, "k": 1}, {"n": 3, "s": 13, "k": 2}, {"n": 7, "s": 2, "k": 5}):
        data = rng.standard_normal([sizes.get(str(d), d) for d in shape]).astype(np.float32)
        limits = np.array(data.shape[batch : batch + tuples[-1]])
        places = rng.integers(-limits if negative else 0, limits, [sizes.get(str(d), d) for d in tuples])
        feeds = {"x": data, "i": places}
        np.testing.assert_array_equal(ort_run(plain, feeds)[0], ort_run(model, feeds)[0])


def test_end_of_text(rng: np.random.Generator) -> None:
    """Features at each sequence's largest token, as CLIP takes them: no sign is looked at, no tuple is made."""
    b = Builder("pooled")
    x, ids = b.input("x", F32, ("n", "s", 5)), b.input("ids", I64, ("n", "s"))
    size = b.op("Squeeze", [b.op("Shape", [x], {"start": 0, "end": 1})])
    rows = b.op("Range", [b.const(0), size, b.const(1)])
    best = b.op("ArgMax", [ids], {"axis": -1, "keepdims": 0})
    parts = [b.op("Unsqueeze", [v, b.const([-1])]) for v in (rows, best)]
    b.output(b.op("GatherND", [x, b.op("Concat", parts, {"axis": -1})]), "y")
    model = b.model()
    plain = model.clone()
    run(plain, ["decompose", "clean"], PassOptions(native=lambda node: node.op_type != "GatherND"))
    assert not any(count(plain, kind) for kind in ("GatherND", "Concat", "Where"))
    for n, s in ((1, 1), (3, 13), (7, 2)):
        feeds = {"x": rng.standard_normal((n, s, 5)).astype(np.float32), "ids": rng.integers(0, 101, (n, s))}
        np.testing.assert_array_equal(ort_run(plain, feeds)[0], ort_run(model, feeds)[0])


def test_signs() -> None:
    """What may be below zero is not called otherwise, and a long chain is not followed without end."""
    b = Builder("signs")
    x, down = b.input("x", I64, ("n",)), b.const([-1])
    size = b.op("Shape", [x])
    assert never_negative(b.op("Add", [size, size]))
    assert not never_negative(x)
    assert not never_negative(b.op("Add", [size, down]))
    assert not never_negative(b.op("Concat", [size, x], {"axis": 0}))
    assert never_negative(b.op("Max", [x, size]))
    assert not never_negative(b.op("Cast", [size], {"to": int(ir.DataType.INT8)}))
    for _ in range(1000):
        size = b.op("Add", [size, size])
    assert not never_negative(size)

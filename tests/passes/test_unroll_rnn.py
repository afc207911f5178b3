"""Unrolled recurrent layers compute what ONNX Runtime's own operators do."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from recast.errors import UnsupportedOp
from recast.graph.build import Builder
from recast.passes import PassOptions, run

from .checks import ort_run, same

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
CASES = {
    "plain": {},
    "reverse": {"direction": "reverse"},
    "both": {"direction": "bidirectional", "states": True},
    "states": {"states": True},
    "clip": {"clip": 0.3, "states": True},
    "late": {"linear_before_reset": 1, "states": True},
    "late-plain": {"linear_before_reset": 1},
    "peepholes": {"peepholes": True, "states": True, "direction": "bidirectional"},
    "peepholes-plain": {"peepholes": True},
    "lengths": {"lengths": 5},
}


def net(op: str, rng: np.random.Generator, case: dict[str, object], steps: int | str = 5) -> ir.Model:
    case = dict(case)
    states, peep, lengths = (case.pop(k, None) for k in ("states", "peepholes", "lengths"))
    b, (n, i, h) = Builder(), (2, 3, 7)
    dirs = 2 if case.get("direction") == "bidirectional" else 1

    def weight(*shape: int) -> ir.Value:
        return b.weight("w", rng.standard_normal(shape).astype(np.float32) / 2)

    g = GATES[op] * h
    inputs: list[ir.Value | None] = [b.input("x", ir.DataType.FLOAT, (steps, n, i))]
    inputs += [weight(dirs, g, i), weight(dirs, g, h), weight(dirs, 2 * g)]
    inputs.append(b.weight("len", np.full(n, lengths, np.int32)) if lengths else None)
    inputs += [weight(dirs, n, h)] if states else [None]
    if op == "LSTM":
        inputs += [weight(dirs, n, h)] if states else [None]
        inputs += [weight(dirs, 3 * h)] if peep else [None]
    outs = b.node(op, inputs, {"hidden_size": h, **case}, 3 if op == "LSTM" else 2)
    for index, value in enumerate(outs):
        b.output(value, f"out{index}")
    return b.model()


ONLY = {"linear_before_reset": "GRU", "peepholes": "LSTM"}
PAIRS = [(op, case) for op in GATES for case, opts in CASES.items() if all(ONLY.get(k, op) == op for k in opts)]


@pytest.mark.parametrize(("op", "case"), PAIRS, ids=[f"{op}-{case}" for op, case in PAIRS])
def test_unrolled(op: str, case: str, rng: np.random.Generator) -> None:
    model = net(op, rng, CASES[case])
    feeds = {"x": rng.standard_normal((5, 2, 3)).astype(np.float32)}
    expected = ort_run(model, feeds)
    run(model, ["unroll_rnn", "clean"], PassOptions())
    assert not any(n.op_type in GATES for n in model.graph)
    assert [v.name for v in model.graph.outputs] == [f"out{i}" for i in range(len(expected))]
    same(expected, ort_run(model, feeds), 1e-5)


@pytest.mark.parametrize(
    ("case", "steps", "word"),
    [({}, "time", "time steps"), ({"lengths": 4}, 5, "lengths"), ({"input_forget": 1}, 5, "coupled"),
     ({"activations": ["HardSigmoid", "Tanh", "Tanh"]}, 5, "HardSigmoid")],
    ids=["steps-unknown", "lengths-shorter", "gates-coupled", "activation-unknown"],
)  # fmt: skip
def test_refused(case: dict[str, object], steps: int | str, word: str, rng: np.random.Generator) -> None:
    with pytest.raises(UnsupportedOp) as caught:
        run(net("LSTM", rng, case, steps), ["unroll_rnn"], PassOptions())
    assert word in caught.value.where

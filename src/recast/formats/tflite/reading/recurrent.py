"""Recurrent layers: gates in ONNX order, time-major between Transposes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.tflite import schema
from recast.formats.tflite.read_call import Call
from recast.formats.tflite.reading import reads

# input numbers of the four gates in ONNX's order: input, output, forget, cell
_WEIGHTS, _RECURRENT, _BIAS = (1, 4, 2, 3), (5, 8, 6, 7), (12, 15, 13, 14)
_PEEPHOLES = (9, 11, 10)  # input, output, forget
_BACKWARD = 17  # BIDIRECTIONAL_SEQUENCE_LSTM repeats inputs 1 to 17 for the second direction
_ACTIVATIONS = {"NONE": "Affine", "RELU": "Relu", "TANH": "Tanh"}


@dataclass(frozen=True)
class _Gates:
    weights: np.ndarray  # [4·hidden, in]
    recurrent: np.ndarray  # [4·hidden, hidden]
    bias: np.ndarray  # [8·hidden]
    peepholes: np.ndarray | None  # [3·hidden]


def _floats(c: Call, number: int) -> np.ndarray:
    source = c.source(number)
    if source is None:
        raise UnsupportedOp("recurrent weights are not constant")
    tensor = c.scope.tensor(source)
    if tensor.is_quantised:
        raise UnsupportedOp("LSTM or RNN with integer weights (its states are rounded at every step)")
    data = tensor.data
    if data is None or data.dtype.kind != "f":
        raise c.bad(f"input {number} is no array of floats")
    return data.astype(np.float32)


def _stack(c: Call, numbers: Sequence[int], offset: int) -> np.ndarray:
    """The gates' arrays one below the other. A missing input gate is 1 − forget gate = σ(−z)."""
    parts = []
    for number in numbers:
        if c.has(number + offset):
            parts.append(_floats(c, number + offset))
        elif number == numbers[0]:
            parts.append(-_floats(c, numbers[2] + offset))
        else:
            raise c.bad(f"input {number + offset} is missing")
    if len({p.shape for p in parts}) != 1:
        raise c.bad("the gates' weights differ in shape")
    result = np.concatenate(parts)
    c.scope.reading.allocate(result.nbytes, c.place())
    return result


def _gates(c: Call, offset: int) -> _Gates:
    if c.has(16 + offset) or c.has(17 + offset):
        raise UnsupportedOp("LSTM with a projection")
    weights, recurrent = _stack(c, _WEIGHTS, offset), _stack(c, _RECURRENT, offset)
    bias = _stack(c, _BIAS, offset)
    if weights.ndim != 2 or recurrent.ndim != 2 or bias.ndim != 1:
        raise c.bad("the weights have the wrong rank")
    hidden = bias.shape[0] // 4
    if weights.shape[0] != 4 * hidden or recurrent.shape != (4 * hidden, hidden):
        raise c.bad(f"weights of shapes {weights.shape} and {recurrent.shape} do not fit {hidden} units")
    peepholes = None
    if c.has(10 + offset):
        peepholes = _stack(c, _PEEPHOLES, offset)
        if peepholes.shape != (3 * hidden,):
            raise c.bad("the peepholes do not fit the units")
    return _Gates(weights, recurrent, np.concatenate([bias, np.zeros_like(bias)]), peepholes)


def _check_state(c: Call, number: int) -> None:
    """States start at zero: TFLite keeps them between runs, a graph without state cannot."""
    if not c.has(number):
        return
    tensor = c.tensor(number)
    if not tensor.is_variable and tensor.data is None and c.index(number) in c.scope.raw:
        raise UnsupportedOp("a state given as an input")
    if tensor.data is not None and tensor.data.any():
        raise UnsupportedOp("a state that does not start at zero")
    c.tell("LiteRT keeps the recurrent state between runs unless it is reset; here every run starts at zero")


def _check_lstm(c: Call) -> None:
    name = schema.name_of("ActivationFunctionType", int(c.opt("fused_activation_function")))
    if name != "TANH":
        raise UnsupportedOp(f"LSTM with activation {name}")
    if c.opt("proj_clip"):
        raise UnsupportedOp("LSTM with proj_clip")
    if c.opt("diagonal_recurrent_tensors"):
        raise UnsupportedOp("LSTM with diagonal recurrent weights")
    clip = float(c.opt("cell_clip"))
    steps = c.shape(0)[0 if c.opt("time_major") else 1]
    if clip > 0 and (not isinstance(steps, int) or steps > clip):
        if clip < 5:
            raise UnsupportedOp(f"LSTM with cell_clip {clip:g}")
        c.tell(f"the cell state is limited to ±{clip:g} in the file; the LSTM of the graph has no limit")


@reads("UNIDIRECTIONAL_SEQUENCE_LSTM")
def lstm(c: Call) -> None:
    """One direction; the output is the hidden state of every step."""
    c.rank(0, 3)
    _check_lstm(c)
    if any(c.has(i) for i in range(20, 24)):
        raise UnsupportedOp("LSTM with layer normalisation")
    _refuse_quantised(c)
    gates = _gates(c, 0)
    _check_state(c, 18)
    _check_state(c, 19)
    value = _run(c, "LSTM", [gates], {})
    c.out(_batch_major(c, c.b.op("Squeeze", [value, c.b.const([1], np.int64, "axes")])))


@reads("BIDIRECTIONAL_SEQUENCE_LSTM")
def bidirectional_lstm(c: Call) -> None:
    """Two directions; outputs joined along the last axis, or apart."""
    c.rank(0, 3)
    _check_lstm(c)
    if any(c.has(i) for i in range(39, 48)):
        raise UnsupportedOp("LSTM with auxiliary inputs")
    _refuse_quantised(c)
    gates = [_gates(c, 0), _gates(c, _BACKWARD)]
    for number in range(35, 39):
        _check_state(c, number)
    value = _run(c, "LSTM", gates, {"direction": "bidirectional"})
    _both(c, value)


def _both(c: Call, value: ir.Value) -> None:
    """(time, 2, batch, hidden) to joined or separate outputs."""
    forward, backward = (
        c.b.op("Squeeze", [v, c.b.const([1], np.int64, "axes")])
        for v in c.b.node("Split", [value], {"axis": 1, "num_outputs": 2}, 2)
    )
    if c.opt("merge_outputs"):
        c.out(_batch_major(c, c.b.op("Concat", [forward, backward], {"axis": 2})))
    else:
        c.out(_batch_major(c, forward), 0)
        c.out(_batch_major(c, backward), 1)


@reads("UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN")
def rnn(c: Call) -> None:
    """Inputs: sequence, weights, recurrent weights, bias, state (again for the second direction)."""
    c.rank(0, 3)
    both = c.kind.startswith("BI")
    if both and any(c.has(i) for i in range(9, 12)):
        raise UnsupportedOp("RNN with auxiliary inputs")
    _refuse_quantised(c)
    name = schema.name_of("ActivationFunctionType", int(c.opt("fused_activation_function"))) or ""
    if name not in _ACTIVATIONS:
        raise UnsupportedOp(f"RNN with activation {name or c.opt('fused_activation_function')}")
    gates = []
    for first in (1, 5) if both else (1,):
        weights, recurrent, bias = (_floats(c, first + i) for i in range(3))
        hidden = bias.shape[0] if bias.ndim == 1 else 0
        if weights.ndim != 2 or weights.shape[0] != hidden or recurrent.shape != (hidden, hidden):
            raise c.bad("the weights do not fit each other")
        gates.append(_Gates(weights, recurrent, np.concatenate([bias, np.zeros_like(bias)]), None))
        _check_state(c, first + 3)
    attributes: dict[str, object] = {"activations": [_ACTIVATIONS[name]] * len(gates)}
    if name == "NONE":
        attributes |= {"activation_alpha": [1.0] * len(gates), "activation_beta": [0.0] * len(gates)}
    value = _run(c, "RNN", gates, attributes | ({"direction": "bidirectional"} if both else {}))
    if both:
        _both(c, value)
    else:
        c.out(_batch_major(c, c.b.op("Squeeze", [value, c.b.const([1], np.int64, "axes")])))


def _refuse_quantised(c: Call) -> None:
    if c.tensor(0).is_quantised:
        raise UnsupportedOp("an integer LSTM or RNN (states are rounded at every step in the kernel's own way)")


def _run(c: Call, name: str, gates: list[_Gates], attributes: dict[str, object]) -> ir.Value:
    """The ONNX node: (time, directions, batch, hidden)."""
    value = c.x(0) if c.opt("time_major") else c.b.op("Transpose", [c.x(0)], {"perm": [1, 0, 2]})
    roles = [("kernel", "weights"), ("recurrent_kernel", "recurrent"), ("bias", "bias")]
    inputs: list[ir.Value | None] = [value]
    for role, field in roles:
        inputs.append(c.b.weight(f"{c.path}/{role}", np.stack([getattr(g, field) for g in gates])))
    held = [g.peepholes for g in gates if g.peepholes is not None]
    if held and len(held) != len(gates):
        raise UnsupportedOp("peepholes in one direction only")
    if held:
        inputs += [None, None, None, c.b.weight(f"{c.path}/peepholes", np.stack(held))]
    attributes = {"hidden_size": gates[0].recurrent.shape[1], **attributes}
    return c.b.node(name, inputs, attributes, 1)[0]


def _batch_major(c: Call, value: ir.Value) -> ir.Value:
    return value if c.opt("time_major") else c.b.op("Transpose", [value], {"perm": [1, 0, 2]})

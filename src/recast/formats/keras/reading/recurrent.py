"""Recurrent layers → LSTM, GRU, RNN nodes. Keras gates: i f c o and z r h; ONNX: i o f c and z r h."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.call import LayerCall
from recast.formats.keras.config import Layer
from recast.formats.keras.reading import reads

_NODES = {"SimpleRNN": "RNN", "LSTM": "LSTM", "GRU": "GRU", "CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}
_GATES = {"RNN": (0,), "LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2)}
_ACTIVATIONS = {"tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu", "softsign": "Softsign", "softplus": "Softplus"}


def _cell_roles(config: Mapping[str, Any]) -> list[str]:
    return ["kernel", "recurrent_kernel", *(["bias"] if config.get("use_bias", True) else [])]


def _cell(layer: Layer) -> list[tuple[str, Layer]]:
    return [("cell", Layer(f"{layer.class_name}Cell", f"{layer.name}_cell", layer.config, layer.path))]


def _wrapped(layer: Layer) -> list[tuple[str, Layer]]:
    return [("cell", inner_layer(layer, layer.config["cell"]))]


def _stacked(layer: Layer) -> list[tuple[str, Layer]]:
    from recast.formats.keras.config import Network
    from recast.formats.keras.weights import numbered

    cells = [inner_layer(layer, spec) for spec in layer.config["cells"]]
    return [(f"cells/{name}", cell) for name, cell in numbered(Network("", False, cells))]


def inner_layer(outer: Layer, spec: dict[str, Any]) -> Layer:
    """A layer given inside another layer's config; it shares the outer layer's path."""
    from recast.formats.keras.config import parse_layer

    inner = parse_layer(spec, 3 if "module" in spec else 2, f"{outer.path}/")
    if inner.network is None:
        inner.path = outer.path
    return inner


def _flat_roles(_: Mapping[str, Any]) -> list[str]:
    return ["kernel", "recurrent_kernel", "bias"]


@dataclass
class Run:
    """What a recurrent node made: the sequence (N, T, U) by time of input, the last output, all last states."""

    sequence: ir.Value
    last: ir.Value
    states: list[ir.Value]


@reads("SimpleRNN", "LSTM", "GRU", children=_cell, masking="use")
def recurrent(c: LayerCall) -> Any:
    """A recurrent layer with one cell."""
    return outputs(c, run_layer(c, c.layer, c.x, _states(c)))


@reads("CuDNNLSTM", "CuDNNGRU", weights=_flat_roles, masking="use")
def cudnn(c: LayerCall) -> Any:
    """Old GPU-only layers: other weight layout, two biases."""
    return outputs(c, run_layer(c, c.layer, c.x, _states(c)))


@reads("RNN", children=_wrapped, masking="use")
def wrapped(c: LayerCall) -> Any:
    """RNN over a cell, or over a stack of cells."""
    return outputs(c, run_layer(c, c.layer, c.x, _states(c)))


@reads("SimpleRNNCell", "LSTMCell", "GRUCell", weights=_cell_roles)
def cell_alone(c: LayerCall) -> Any:
    """A cell outside a recurrent layer."""
    raise c.refuse("a cell is only read inside an RNN layer", "wrap it: RNN(cell)")


@reads("StackedRNNCells", children=_stacked)
def stack_alone(c: LayerCall) -> Any:
    """A stack of cells outside a recurrent layer."""
    raise c.refuse("a cell is only read inside an RNN layer", "wrap it: RNN(cell)")


def _states(c: LayerCall) -> list[ir.Value]:
    """Initial states: further tensors of the first argument, further arguments, or ``initial_state``."""
    found: list[Any] = [*c.tensors[1:]]
    for key, value in c.kwargs.items():
        if key == "initial_state" and value is not None:
            found += value if isinstance(value, list) else [value]
        elif isinstance(value, ir.Value) and key not in ("sequence", "sequences", "inputs"):
            raise c.refuse(f"a tensor is given as '{key}'")
    if not all(isinstance(v, ir.Value) for v in found):
        raise c.refuse("an initial state that is no tensor")
    return found


def outputs(c: LayerCall, run: Run) -> Any:
    """What Keras returns: sequence or last output, then the states."""
    y = run.last
    if c.get("return_sequences", False):
        y = reverse(c, run.sequence) if c.get("go_backwards", False) else run.sequence
    return [y, *run.states] if c.get("return_state", False) else y


def reverse(c: LayerCall, x: ir.Value) -> ir.Value:
    """Reverse the time axis of (N, T, U)."""
    return c.op("Slice", [x, c.const([-1]), c.const([-(2**62)]), c.const([1]), c.const([-1])])


def run_layer(c: LayerCall, layer: Layer, x: ir.Value, states: list[ir.Value]) -> Run:
    """Run a recurrent layer over (N, T, F)."""
    c.refuse_mask()
    config = layer.config
    for key in ("stateful", "time_major"):
        if config.get(key):
            raise c.refuse(f"{key}=True", "set it to False and save again")
    if len(c.dims(x)) != 3:
        raise c.refuse(f"a sequence of rank {len(c.dims(x))}, 3 wanted")
    if layer.class_name in ("CuDNNLSTM", "CuDNNGRU"):
        cells = [layer]
    else:
        from recast.formats.keras.weights import children

        cell = children(layer)[0][1]
        cells = [inner for _, inner in children(cell)] if cell.class_name == "StackedRNNCells" else [cell]
    done: list[ir.Value] = []
    rest = list(states)
    current: Run | None = None
    for cell in cells:
        wanted = 2 if cell.class_name in ("LSTM", "LSTMCell", "CuDNNLSTM") else 1
        given, rest = rest[:wanted], rest[wanted:]
        if given and len(given) != wanted:
            raise c.refuse(f"{len(states)} initial states")
        source = current.sequence if current is not None else x
        current = _node(c, cell, source, given, bool(config.get("go_backwards")))
        done += current.states
    if current is None or rest:
        raise c.refuse("initial states and cells do not fit")
    return Run(current.sequence, current.last, done)


def _node(c: LayerCall, cell: Layer, x: ir.Value, given: list[ir.Value], backwards: bool) -> Run:
    kind = _NODES.get(cell.class_name.removesuffix("Cell"))
    if kind is None:
        raise c.refuse(f"a cell of class {cell.class_name}", "use LSTMCell, GRUCell or SimpleRNNCell")
    inner = LayerCall(c.reading, cell, [x])
    units = int(inner.get("units"))
    weights, attributes = _weights(inner, kind, units, len(c.dims(x)) and c.fixed(x, -1))
    attributes.update({"hidden_size": units, "direction": "reverse" if backwards else "forward"})
    initial = [c.op("Unsqueeze", [v, c.const([0])]) for v in given]
    inputs: list[ir.Value | None] = [c.op("Transpose", [x], {"perm": [1, 0, 2]}), *weights]
    if initial:
        inputs.extend([None] * (5 - len(inputs)))
        inputs.extend(initial)
    made = c.b.node(kind, inputs, attributes, 3 if kind == "LSTM" else 2)
    sequence = c.op("Transpose", [c.op("Squeeze", [made[0], c.const([1])])], {"perm": [1, 0, 2]})
    states = [c.op("Squeeze", [v, c.const([0])]) for v in made[1:]]
    return Run(sequence, states[0], states)


def _weights(c: LayerCall, kind: str, units: int, features: int) -> tuple[list[ir.Value | None], dict[str, Any]]:
    order = _GATES[kind]
    gates = len(order)
    kernel = c.array("kernel", (features, gates * units))
    recurrent_kernel = c.array("recurrent_kernel", (units, gates * units))
    bias: np.ndarray | None = None
    attributes: dict[str, Any] = {}
    flat = c.layer.class_name.startswith("CuDNN")
    after = kind == "GRU" and (flat or bool(c.get("reset_after", False)))
    if c.has("bias"):
        two = flat or after
        stored = (2 * gates * units,) if flat else (2, gates * units) if after else (gates * units,)
        both = c.array("bias", stored).reshape(2 if two else 1, gates, units)[:, list(order)]
        bias = np.zeros((2, gates, units), np.float32)
        bias[: both.shape[0]] = both
    if flat:
        kernel, recurrent_kernel = (_from_cudnn(k, gates) for k in (kernel, recurrent_kernel))
    if kind == "GRU":
        attributes["linear_before_reset"] = int(after)
    _activations(c, kind, attributes, flat)
    return [
        c.made("kernel", _gates_first(kernel, order)),
        c.made("recurrent_kernel", _gates_first(recurrent_kernel, order)),
        None if bias is None else c.made("bias", bias.reshape(1, -1)),
    ], attributes


def _gates_first(kernel: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """(in, gates · units) → (1, gates · units, in) with the gates in ONNX's order."""
    depth = kernel.shape[0]
    split = kernel.reshape(depth, len(order), -1)[:, list(order)]
    return np.ascontiguousarray(split.reshape(depth, -1).T)[None]


def _from_cudnn(kernel: np.ndarray, gates: int) -> np.ndarray:
    """Each gate's matrix lies in the file as (units, in), although its declared shape is (in, units)."""
    parts = np.split(kernel, gates, axis=1)
    return np.concatenate([np.ascontiguousarray(p).reshape(p.shape[1], p.shape[0]).T for p in parts], axis=1)


def _activations(c: LayerCall, kind: str, attributes: dict[str, Any], flat: bool) -> None:
    main = "tanh" if flat else c.layer.config.get("activation", "tanh")
    default = "hard_sigmoid" if c.version < 2 or "recurrent_activation" not in c.layer.config else "sigmoid"
    gate = "sigmoid" if flat else c.layer.config.get("recurrent_activation", default)
    names = {"RNN": [main], "GRU": [gate, main], "LSTM": [gate, main, main]}[kind]
    made, alpha, beta = [], [], []
    for spec in names:
        name = spec.get("config") if isinstance(spec, dict) and isinstance(spec.get("config"), str) else spec
        if name in _ACTIVATIONS:
            made.append(_ACTIVATIONS[name])
        elif name == "hard_sigmoid":
            made.append("HardSigmoid")
            alpha.append(0.2 if c.version < 3 else 1 / 6)
            beta.append(0.5)
        elif name in ("linear", None):
            made.append("Affine")
            alpha.append(1.0)
            beta.append(0.0)
        elif name == "elu":
            made.append("Elu")
            alpha.append(1.0)
        else:
            raise c.refuse(
                f"the activation '{name}' inside a recurrent layer", "use tanh, sigmoid, relu or hard_sigmoid"
            )
    plain = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}[kind]
    if made != plain:
        attributes["activations"] = made
        if alpha:
            attributes["activation_alpha"] = alpha
        if beta:
            attributes["activation_beta"] = beta

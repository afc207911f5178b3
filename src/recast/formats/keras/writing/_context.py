"""What handlers work with: graph values ↔ Keras tensors, layer names, constants, problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.writing import Unfit
from recast.formats.keras.writing._bias import negated, safe_sum
from recast.formats.keras.writing._constants import Const, Constants
from recast.formats.keras.writing._network import (
    Layer,
    Literal,
    Network,
    Shape,
    Tensor,
    Weight,
    array_literal,
    tensors_in,
)
from recast.graph import LAYER, view
from recast.graph.finding import Finding

_LONGEST_LITERAL = 4096  # integers above this number are stored as a weight, if that is exact
INLINE_ELEMENTS = 64  # constants up to this size are arguments in config.json; larger ones are weights

_WEIGHTED = frozenset(
    {"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN", "PRelu", "Gather", "Resize", "Pad"}
    | {"BatchNormalization", "LayerNormalization", "GroupNormalization", "InstanceNormalization", "RMSNormalization"}
    | {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}
)
_MOVING = frozenset(
    {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Cast", "Shape", "Slice", "Identity", "Concat", "Expand"}
    | {"QuantizeLinear", "DequantizeLinear"}
)


class Poisoned(Unfit):
    """An input comes from a node that could not be written; that node is already reported."""


def keras_shape(value: ir.Value) -> Shape:
    """A value's shape with None for every dimension that is not a number."""
    if value.shape is None:
        raise Unfit(f"the shape of {value.name} is not known")
    return tuple(d if isinstance(d, int) else None for d in value.shape)


def keras_dtype(value: ir.Value) -> str:
    """A value's element type as Keras calls it."""
    if value.dtype is None:
        raise Unfit(f"the element type of {value.name} is not known")
    name = value.dtype.numpy().name
    if name.startswith(("complex", "float8", "int4", "uint4", "object", "str")):
        raise Unfit(f"Keras tensors cannot be {name}")
    return name


class Context:
    """State of writing one graph."""

    def __init__(self, nodes: Sequence[ir.Node]) -> None:
        self.net = Network()
        self.claimed: set[ir.Node] = set()
        self.findings: dict[str, Finding] = {}
        self.constants = Constants()
        self._tensors: dict[ir.Value, Tensor | None] = {}
        self._holders: dict[Any, Tensor] = {}
        self._zero: Tensor | None = None
        self.wider: dict[Tensor, Tensor] = {}  # halves that were computed in float32, before they were rounded
        self._primary: dict[str, tuple[ir.Node, str]] = {}
        self._named: set[str] = set()
        best: dict[str, tuple[int, ir.Node]] = {}
        for node in nodes:
            score = 0 if node.op_type in _WEIGHTED else 2 if node.op_type in _MOVING else 1
            path = view.layer_of(node)
            if path not in best or score < best[path][0]:
                best[path] = (score, node)
        self._best = best

    def reserve_names(self) -> None:
        """Give every source layer its name; called after the inputs took theirs."""
        for path, (_, node) in self._best.items():
            self._primary[path] = (node, self.net.reserve(path))

    # -- values ---------------------------------------------------------------------------------------------------

    def bind(self, value: ir.Value, tensor: Tensor | None) -> None:
        """Say which tensor a value is; None: its node could not be written."""
        self._tensors[value] = tensor

    def bound(self, value: ir.Value) -> Tensor | None:
        """The tensor of a value, if it has one."""
        return self._tensors.get(value)

    def const(self, value: ir.Value | None) -> Const | None:
        """The constant behind a value (not loaded), or None."""
        return self.constants.find(value)

    def array(self, value: ir.Value | None, what: str) -> np.ndarray:
        """A constant that must be known now: axes, shapes, scalars."""
        found = self.const(value)
        if found is None:
            raise Unfit(f"its {what} is computed at run time")
        return found.load()

    def ints(self, value: ir.Value | None, what: str) -> list[int]:
        """A constant list of integers."""
        return [int(v) for v in self.array(value, what).reshape(-1)]

    def tensor(self, value: ir.Value | None) -> Tensor:
        """The tensor of a value; a constant becomes a weight that a layer of its own holds."""
        if value is None:
            raise Unfit("a needed input is missing")
        if value in self._tensors:
            tensor = self._tensors[value]
            if tensor is None:
                raise Poisoned("")
            return tensor
        found = self.const(value)
        if found is None:
            raise Poisoned("")
        return self.hold(found, value.name or "constant")

    def operand(self, value: ir.Value | None) -> Any:
        """A value as an argument of an operation: a tensor, a number, a small array."""
        found = None if value in self._tensors else self.const(value)
        if found is None:
            return self.tensor(value)
        if found.size == 1 and found.dtype != "bool":
            number = found.load().reshape(-1)[0].item()
            rank = len(found.shape)
            return number if rank == 0 else array_literal(found.load())
        if found.size <= INLINE_ELEMENTS:
            return array_literal(found.load())
        return self.hold(found, value.name or "constant" if value else "constant")

    def hold(self, const: Const, name: str) -> Tensor:
        """A constant tensor that Keras stores as a weight.

        Keras models have no free constants. An Embedding of one row holds the flattened constant and is looked up
        with an index 0 that is computed from the model's first input (the sum of its ``zeros_like``); a reshape
        follows. It is not trainable, as a constant is not. Integers and booleans go into the configuration.
        """
        if const.key in self._holders:
            return self._holders[const.key]
        if self._zero is None:
            self._zero = self._zero_index()
        name = self.net.reserve(name)
        if not const.is_float or not const.size:
            self._holders[const.key] = self._hold_whole(const, name)
            return self._holders[const.key]
        self._holders[const.key] = self._hold_weight(const, name)
        return self._holders[const.key]

    def _hold_weight(self, const: Const, name: str) -> Tensor:
        weight = Weight("embeddings", lambda: const.load().reshape(1, -1), kind="frozen")
        config = {
            "name": name,
            "input_dim": 1,
            "output_dim": const.size,
            "dtype": const.dtype,
            "trainable": False,
            "embeddings_initializer": "zeros",
        }
        layer = Layer("Embedding", config, name, weights=(weight,))
        flat = self.net.call(layer, [self._zero], {}, [((const.size,), const.dtype)])[0]
        shaped = self.raw_op("numpy.Reshape", f"{name}_shape", [flat], {"newshape": list(const.shape)})
        return self.net.call(*shaped, [(const.shape, const.dtype)])[0]

    def _hold_whole(self, const: Const, name: str) -> Tensor:
        """Integers and booleans: in the configuration, added to a zero; long ones as a weight if float64 holds them."""
        array, dtype = const.load(), const.dtype
        if dtype.startswith(("int4", "uint4", "int2", "uint2", "float8", "float4", "complex", "object")):
            raise Unfit(f"Keras tensors cannot be {dtype}")
        carrier = (
            "float32"
            if const.is_float or array.size == 0 or np.abs(array.astype(np.float64)).max() < 2**24
            else "float64"
        )
        if array.size > _LONGEST_LITERAL and np.array_equal(array.astype(carrier).astype(array.dtype), array):
            held = Const(const.shape, carrier, lambda: const.load().astype(carrier), const.key)
            return self._cast(self._hold_weight(held, name), dtype, name)
        path, work = (
            ("numpy.LogicalOr", "bool") if dtype == "bool" else ("numpy.Add", "int64" if dtype == "uint64" else dtype)
        )
        assert self._zero is not None  # noqa: S101 hold made it
        zero = self._cast(self._zero, work, f"{name}_zero")
        raw = self.raw_op(path, name, [zero, array_literal(array.astype(work))], {})
        return self._cast(self.net.call(*raw, [(const.shape, work)])[0], dtype, f"{name}_cast")

    def _cast(self, x: Tensor, dtype: str, name: str) -> Tensor:
        if x.dtype == dtype:
            return x
        return self.net.call(*self.raw_op("core.Cast", name, [x], {"dtype": dtype}), [(x.shape, dtype)])[0]

    def held(self, array: np.ndarray, name: str) -> Tensor:
        """A constant that a handler computed, as a tensor."""
        return self.hold(Const(array.shape, array.dtype.name, lambda: array, (name, array.tobytes())), name)

    def constant(self, array: np.ndarray, name: str, dtype: str) -> Any:
        """A constant that a handler computed, as an argument of an operation."""
        held = array.astype(ir.DataType[{"float32": "FLOAT", "float16": "FLOAT16"}.get(dtype, "FLOAT")].numpy())
        if held.size <= INLINE_ELEMENTS:
            return array_literal(held)
        return self.hold(Const(held.shape, held.dtype.name, lambda: held, (name, held.tobytes())), name)

    def _zero_index(self) -> Tensor:
        if not self.net.inputs:
            raise Unfit("a model without inputs has no Keras form")
        source = self.net.inputs[0]
        zeros = self.net.call(*self.raw_op("numpy.ZerosLike", "constant_zeros", [source], {}), [(source.shape, "?")])
        sums = self.net.call(*self.raw_op("numpy.Sum", "constant_sum", zeros, {}), [((), "?")])
        index = self.raw_op("core.Cast", "constant_index", sums, {"dtype": "int32"})
        return self.net.call(*index, [((), "int32")])[0]

    def raw_op(
        self, path: str, name: str, args: Sequence[Any], config: Mapping[str, Any]
    ) -> tuple[Layer, Sequence[Any], dict[str, Any]]:
        """An operation (``numpy.Mean``) that is not called yet."""
        module, class_name = path.split(".")
        unique = self.net.reserve(name)
        return Layer(class_name, {**config, "name": unique}, unique, f"keras.src.ops.{module}"), args, {}

    # -- layers ---------------------------------------------------------------------------------------------------

    def name(self, node: ir.Node, suffix: str = "") -> str:
        """A layer name for a node: its source's layer for the layer's main node, else that with a suffix."""
        path = view.layer_of(node)
        primary = self._primary.get(path)
        if primary is not None and primary[0] is node and not suffix and path not in self._named:
            self._named.add(path)
            return primary[1]
        return self.net.reserve(f"{path}_{suffix or node.op_type.lower()}")

    def layer(
        self,
        node: ir.Node,
        class_name: str,
        config: Mapping[str, Any],
        inputs: Sequence[Any],
        **extra: Any,
    ) -> Tensor:
        """Add a layer for a node and return its (first) output.

        Args:
            node: gives the name, and shape and dtype of the result.
            class_name: of ``keras.layers``.
            config: settings that differ from Keras's defaults.
            inputs: one tensor, or several for layers that take a list.
            extra: ``weights`` with ``key`` (what makes two layers' weights the same), ``suffix`` of the name,
                ``shape`` of the output, ``dtype`` of the output.
        """
        shape = extra["shape"] if "shape" in extra else keras_shape(node.outputs[0])
        dtype = extra.get("dtype") or self._carried(node, inputs)
        return self.layer_outputs(node, class_name, config, inputs, {**extra, "outputs": [(shape, dtype)]})[0]

    def layer_outputs(
        self, node: ir.Node, class_name: str, config: Mapping[str, Any], inputs: Sequence[Any], extra: Mapping[str, Any]
    ) -> list[Tensor]:
        """As ``layer``, for several outputs: ``extra["outputs"]`` lists shapes and dtypes, ``extra["kwargs"]`` is for
        the call.
        """
        weights: tuple[Weight, ...] = tuple(extra.get("weights", ()))
        outputs: Sequence[tuple[Shape, str]] = extra["outputs"]
        policy = outputs[0][1] if "float" in outputs[0][1] else "float32"
        layer = Layer(class_name, {**config, "dtype": policy}, "", weights=weights)
        if weights:
            layer = self.net.shared(layer, (view.layer_of(node), extra.get("key")))
        if not layer.name:
            layer.name = self.name(node, extra.get("suffix", ""))
            layer.config = {"name": layer.name, **layer.config}
        args = [inputs[0]] if len(inputs) == 1 else [list(inputs)]
        return self.net.call(layer, args, extra.get("kwargs", {}), outputs)

    def op(
        self, node: ir.Node, path: str, args: Sequence[Any], config: Mapping[str, Any] | None = None, **extra: Any
    ) -> Tensor:
        """Add an operation (``numpy.Mean``) for a node.

        Args:
            node: gives the name, and shape and dtype of the result.
            path: module of ``keras.src.ops`` and class.
            args: tensors, numbers, literals.
            config: constructor arguments.
            extra: ``suffix`` of the name, ``shape`` and ``dtype`` of the output, ``kwargs`` of the call.
        """
        shape = extra["shape"] if "shape" in extra else keras_shape(node.outputs[0])
        dtype = extra.get("dtype") or self._carried(node, args)
        if path == "numpy.Add":
            path, args = self._sum(node, list(args))
        module, class_name = path.split(".")
        name = self.name(node, extra.get("suffix", ""))
        layer = Layer(class_name, {**(config or {}), "name": name}, name, f"keras.src.ops.{module}")
        return self.net.call(layer, args, extra.get("kwargs", {}), [(shape, dtype)])[0]

    def _sum(self, node: ir.Node, args: list[Any]) -> tuple[str, list[Any]]:
        """A sum that Keras reads right; if it would in neither order, the difference from the negative."""
        fit = safe_sum(args)
        if fit is not None:
            return "numpy.Add", fit
        x, y = args
        if isinstance(y, Tensor):
            y = self.op(node, "numpy.Negative", [y], shape=y.shape, dtype=y.dtype, suffix="negative")
        else:
            y = negated(y)
        return "numpy.Subtract", [x, y]

    @staticmethod
    def parts(first: Tensor, outputs: Sequence[tuple[Shape, str]]) -> list[Tensor]:
        """All outputs of the call that gave ``first``."""
        return [Tensor(first.call, index, shape, dtype) for index, (shape, dtype) in enumerate(outputs)]

    @staticmethod
    def _carried(node: ir.Node, args: Sequence[Any]) -> str:
        """The type of a result in Keras: quantised integers stay in the float tensor that carries them."""
        source, wanted = node.inputs[0], keras_dtype(node.outputs[0])
        held = next(tensors_in(list(args)), None)
        same = source is not None and source.dtype == node.outputs[0].dtype
        return held.dtype if same and held is not None and "int" in wanted and "float" in held.dtype else wanted

    # -- neighbours -----------------------------------------------------------------------------------------------

    def claim(self, node: ir.Node) -> None:
        """Say that a node is part of a layer that is being written."""
        self.claimed.add(node)

    def follower(self, value: ir.Value, *op_types: str) -> ir.Node | None:
        """The only consumer of a value, if it is one of the operators and not yet part of something else."""
        node = view.sole_consumer(value)
        return node if node is not None and node.op_type in op_types and node not in self.claimed else None

    def added_row(self, node: ir.Node, units: int) -> tuple[ir.Node, Const | None]:
        """The Add of one constant per channel that alone uses a node's output (claimed), else the node itself."""
        out = node.outputs[0]
        add = self.follower(out, "Add")
        if add is None or len(keras_shape(add.outputs[0])) != len(keras_shape(out)):
            return node, None
        others = [v for v in add.inputs if v is not out]
        found = self.const(others[0]) if len(others) == 1 else None
        if found is None or not found.is_float or found.size != units or found.shape[-1:] != (units,):
            return node, None
        self.claim(add)
        return add, found

    @staticmethod
    def same_layer(one: ir.Node, other: ir.Node) -> bool:
        """Whether two nodes were one layer in the source."""
        path = one.metadata_props.get(LAYER)
        return bool(path) and path == other.metadata_props.get(LAYER)

    def note(self, key: str, what: str, where: str = "") -> None:
        """Tell the user something, once per key."""
        self.findings.setdefault(key, Finding(what, where))

    @staticmethod
    def literal(array: np.ndarray) -> Literal:
        """A small array as an argument."""
        return array_literal(array)

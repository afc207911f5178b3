"""One call of one layer, as its reader sees it: arguments, config, weights, and the builder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from recast.errors import BadShape, UnsupportedOp
from recast.formats.keras.config import Layer, flatten
from recast.formats.keras.promotion import element_type
from recast.graph.build import Builder
from recast.graph.finding import Finding

if TYPE_CHECKING:
    from recast.formats.keras.network import Reading

_EAGER_BYTES = 1 << 20  # larger rearranged weights are made when they are used


@dataclass
class LayerCall:
    """What a handler gets.

    Attributes:
        reading: the whole reading (builder, masks, findings, Keras version).
        layer: the layer called.
        args: positional arguments; tensors are ``ir.Value``.
        kwargs: keyword arguments; tensors are ``ir.Value``.
    """

    reading: Reading
    layer: Layer
    args: list[Any]
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def b(self) -> Builder:
        """The builder."""
        return self.reading.builder

    @property
    def version(self) -> int:
        """Keras's major version that wrote the file."""
        return self.reading.version

    @property
    def tensors(self) -> list[ir.Value]:
        """All tensors among the positional arguments."""
        return [v for v in flatten(self.args) if isinstance(v, ir.Value)]

    @property
    def x(self) -> ir.Value:
        """The first tensor.

        Raises:
            UnsupportedOp: the layer is called without a tensor.
        """
        if self.args and isinstance(self.args[0], ir.Value):  # nearly every layer, and asked for all the time
            return self.args[0]
        for value in flatten([self.args, self.kwargs]):
            if isinstance(value, ir.Value):
                return value
        raise self.refuse("it is called without a tensor")

    @property
    def rank(self) -> int:
        """Rank of the first tensor."""
        return len(self.dims(self.x))

    @property
    def masked(self) -> bool:
        """Whether the first tensor has a mask."""
        return self.x in self.reading.masks

    def mask(self) -> ir.Value:
        """Mask of the first tensor: bool (batch, time).

        Raises:
            UnsupportedOp: it went through a layer that changes masks in ways not followed here.
        """
        made = self.reading.masks[self.x]
        if isinstance(made, str):
            raise self.refuse(f"it works under a mask that cannot be followed ({made})", "build it without the mask")
        return made()

    def refuse_mask(self) -> None:
        """Refuse a mask on any input.

        Raises:
            UnsupportedOp: there is one.
        """
        if any(isinstance(v, ir.Value) and v in self.reading.masks for v in flatten([self.args, self.kwargs])):
            raise self.refuse(
                "it works under a mask (mask_zero or Masking), which ONNX operators cannot express exactly",
                "build the model without the mask, or pad so that the mask is not needed",
            )

    def get(self, key: str, default: Any = None) -> Any:
        """A config entry; None counts as absent."""
        value = self.layer.config.get(key)
        return default if value is None else value

    def tuple(self, key: str, size: int, default: int = 1) -> list[int]:
        """A config entry that is one int or ``size`` ints."""
        value = self.get(key, default)
        values = [value] * size if isinstance(value, int) else list(value)
        if len(values) != size or not all(isinstance(v, int) for v in values):
            raise BadShape(f"{self.layer.class_name}: {key} is {value}, {size} wanted", f"layer {self.layer.path}")
        return values

    def dims(self, value: ir.Value) -> list[int | None]:
        """Sizes of a tensor, None where dynamic."""
        if value.shape is None:
            raise BadShape("a tensor of unknown rank", f"layer {self.layer.path}", "save the model with input shapes")
        return [d if isinstance(d, int) else None for d in value.shape]

    def fixed(self, value: ir.Value, axis: int) -> int:
        """A size that must be known."""
        size = self.dims(value)[axis]
        if size is None:
            raise self.refuse(f"axis {axis} of its input must have a fixed size", "give the input a fixed shape")
        return size

    def op(
        self, op_type: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Any] | None = None
    ) -> ir.Value:
        """Add a node with one output."""
        return self.b.op(op_type, inputs, attributes)

    def const(self, data: Any, dtype: Any = None) -> ir.Value:
        """A constant: ints become int64, floats float32."""
        return self.b.const(data, dtype)

    @property
    def compute(self) -> ir.DataType:
        """The type of floating point numbers that the layer computes in; mixed precision is computed in float32."""
        found = element_type(self.layer.policy)
        return found if found is not None and found.is_floating_point() else ir.DataType.FLOAT

    def like(self, number: float, value: ir.Value) -> ir.Value:
        """A scalar of the element type of ``value``."""
        return self.b.const(np.asarray(number, dtype=(value.dtype or ir.DataType.FLOAT).numpy()))

    def has(self, role: str) -> bool:
        """Whether the layer has this weight."""
        return role in self.layer.weights

    def array(self, role: str, shape: Sequence[int | None] | None = None) -> np.ndarray:
        """A weight as the file has it (a view).

        Raises:
            BadShape: its shape is not ``shape`` (None: any size).
        """
        held = self.layer.weights[role]
        if shape is not None and (
            len(shape) != len(held.shape)
            or any(w is not None and w != h for w, h in zip(shape, held.shape, strict=True))
        ):
            raise BadShape(
                f"{self.layer.class_name}: weight '{role}' has shape {tuple(held.shape)}, "
                f"{tuple('?' if s is None else s for s in shape)} wanted",
                f"layer {self.layer.path}",
                "config and weights of the file do not belong together: save the model again",
            )
        array: np.ndarray = held.read()
        return array if array.dtype.kind in "fiub" else array.astype(np.float32)

    def param(
        self,
        role: str,
        shape: Sequence[int | None] | None = None,
        view: Callable[[np.ndarray], np.ndarray] | None = None,
        name: str | None = None,
    ) -> ir.Value:
        """A weight as initializer ``<layer>/<role>``, made once per layer.

        Args:
            role: which weight.
            shape: the shape it must have in the file; None: any size.
            view: rearranges it (transpose, reshape); best without copying.
            name: another role name for the initializer.
        """
        key = name or role
        if key not in self.layer.values:
            array = self.array(role, shape)
            self.layer.values[key] = self.keep(key, view(array) if view is not None else array)
        value: ir.Value = self.layer.values[key]
        return value

    def keep(self, key: str, array: np.ndarray) -> ir.Value:
        """Make an array an initializer of this layer. Large rearranged views are copied only when used."""
        name = f"{self.layer.path}/{key}"
        if array.dtype.kind == "f" and array.dtype != self.compute.numpy():
            array = array.astype(self.compute.numpy())
        if array.flags.c_contiguous:
            return self.b.weight(name, array)
        if array.nbytes <= _EAGER_BYTES:
            return self.b.weight(name, np.ascontiguousarray(array))
        lazy = ir.LazyTensor(
            lambda: ir.Tensor(np.ascontiguousarray(array), name=name),
            dtype=ir.DataType.from_numpy(array.dtype),
            shape=ir.Shape(array.shape),
            name=name,
        )
        return self.b.weight(name, lazy)

    def filled(self, role: str, shape: Sequence[int], value: float) -> ir.Value:
        """The weight ``role``, or where the layer has none, a constant in its place."""
        if self.has(role):
            return self.param(role, shape)
        return self.made(role, np.full(tuple(shape), value, np.float32))

    def made(self, key: str, array: np.ndarray) -> ir.Value:
        """An initializer worked out from weights, made once per layer."""
        if f"made {key}" not in self.layer.values:
            self.layer.values[f"made {key}"] = self.keep(key, array)
        value: ir.Value = self.layer.values[f"made {key}"]
        return value

    def activate(self, value: ir.Value, spec: Any = None) -> ir.Value:
        """Apply the layer's ``activation`` (or ``spec``)."""
        from recast.formats.keras.activation import activate

        return activate(self, value, self.layer.config.get("activation") if spec is None else spec)

    def first(self, value: ir.Value) -> ir.Value:
        """The tensor as (N, C, *spatial), by the layer's ``data_format``."""
        return value if self.channels_first else self.b.channels_first(value)

    def last(self, value: ir.Value) -> ir.Value:
        """Back from (N, C, *spatial) to the layer's ``data_format``."""
        return value if self.channels_first else self.b.channels_last(value)

    @property
    def channels_first(self) -> bool:
        """Whether the layer's ``data_format`` is channels_first."""
        return bool(self.get("data_format", "channels_last") == "channels_first")

    def child(self, path: str, args: list[Any], kwargs: dict[str, Any] | None = None) -> Any:
        """Call an inner layer (``children`` of the entry)."""
        return self.reading.call(self.layer.values["children"][path], args, kwargs or {})

    def find(self, what: str) -> None:
        """Tell the user something about this layer."""
        self.reading.findings.append(Finding(what, f"layer {self.layer.path}"))

    def refuse(self, why: str, fix: str = "") -> UnsupportedOp:
        """The error for a layer that cannot be read as it is configured."""
        return UnsupportedOp(f"{self.layer.class_name}: {why}", f"layer {self.layer.path}", fix)

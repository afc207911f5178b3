"""Element types that Keras computes in: the lattice of its ``backend.common.dtypes`` (3.15), which is taken from JAX.

Python numbers are weak: ``int`` and ``float`` take the type of the tensor beside them. 64-bit unsigned results are cut
to 32 bits, as Keras cuts them.
"""

from __future__ import annotations

from functools import cache

import onnx_ir as ir

_ABOVE: dict[str, tuple[str, ...]] = {
    "bool": ("int",),
    "int": ("uint8", "int8"),
    "uint8": ("int16", "uint16"),
    "uint16": ("int32", "uint32"),
    "uint32": ("int64", "uint64"),
    "uint64": ("float",),
    "int8": ("int16",),
    "int16": ("int32",),
    "int32": ("int64",),
    "int64": ("float",),
    "float": ("bfloat16", "float16"),
    "bfloat16": ("float32",),
    "float16": ("float32",),
    "float32": ("float64",),
    "float64": (),
}
_WEAK = {"int": "int32", "float": "float32"}
_ONNX = {"float32": ir.DataType.FLOAT, "float64": ir.DataType.DOUBLE}
_KERAS = {dtype: name for name, dtype in _ONNX.items()}


@cache
def _bounds(name: str) -> frozenset[str]:
    """The type and everything above it.

    Raises:
        KeyError: Keras does not promote this type.
    """
    return frozenset({name}).union(*(_bounds(n) for n in _ABOVE[name]))


@cache
def result_type(*names: str) -> str:
    """The type that Keras gives a result of these; ``int`` and ``float`` are Python numbers.

    Raises:
        KeyError: Keras does not promote one of them.
    """
    common = frozenset.intersection(*(_bounds(n) for n in names))
    least = next(n for n in common if common <= _bounds(n))
    if set(names) <= set(_WEAK) or least in _WEAK:
        least = _WEAK[least]
    return "uint32" if least == "uint64" else least


def is_float(name: str) -> bool:
    """Whether a type holds fractions."""
    return "float" in name


def element_type(name: str) -> ir.DataType | None:
    """ONNX's type of one of Keras, None where there is none."""
    return _ONNX.get(name) or ir.DataType.__members__.get(name.upper())


def keras_type(dtype: ir.DataType | None) -> str:
    """Keras's name of an element type."""
    return "float32" if dtype is None else _KERAS.get(dtype, dtype.name.lower())

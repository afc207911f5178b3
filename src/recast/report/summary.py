"""What a model is: inputs, outputs, operators, layers, parameters."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from recast.graph import LAYER, ORIGIN

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class TensorLine:
    """One input, output or weight."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class LayerLine:
    """One layer of the source with what Recast made of it; ``parameters`` counts elements."""

    name: str
    origin: str
    operators: tuple[str, ...]
    output: tuple[int | str, ...]
    parameters: int


@dataclass(frozen=True)
class Summary:
    """A model in numbers. ``weight_bytes`` is what the weights take uncompressed."""

    format: str
    inputs: tuple[TensorLine, ...]
    outputs: tuple[TensorLine, ...]
    operators: dict[str, int]
    layers: tuple[LayerLine, ...]
    parameters: int
    weight_bytes: int
    quantized: bool

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def summarise(model: ir.Model, format_name: str) -> Summary:
    """Describe a model in the graph dialect."""
    operators = Counter(n.op_type for n in model.graph)
    weights = [v.const_value for v in model.graph.initializers.values() if v.const_value is not None]
    return Summary(
        format=format_name,
        inputs=tuple(_line(v) for v in model.graph.inputs),
        outputs=tuple(_line(v) for v in model.graph.outputs),
        operators=dict(sorted(operators.items(), key=lambda kv: (-kv[1], kv[0]))),
        layers=tuple(_layers(model)),
        parameters=sum(t.size for t in weights),
        weight_bytes=sum(t.nbytes for t in weights),
        quantized="DequantizeLinear" in operators,
    )


def _shape(value: ir.Value) -> tuple[int | str, ...]:
    if value.shape is None:
        return ("?",)
    return tuple(d if isinstance(d, int) else (d.value or "?") for d in value.shape)


def _line(value: ir.Value) -> TensorLine:
    return TensorLine(value.name or "", value.dtype.name.lower() if value.dtype else "?", _shape(value))


def _layers(model: ir.Model) -> list[LayerLine]:
    grouped: dict[str, list[ir.Node]] = {}
    for node in model.graph:
        grouped.setdefault(node.metadata_props.get(LAYER) or node.name or "", []).append(node)
    counted: set[ir.Value] = set()
    lines = []
    for name, nodes in grouped.items():
        parameters = 0
        for value in (v for n in nodes for v in n.inputs if v is not None and v.const_value is not None):
            if value not in counted and value.const_value is not None and len(value.const_value.shape):
                counted.add(value)
                parameters += value.const_value.size
        operators = tuple(n.op_type for n in nodes)
        origin = nodes[0].metadata_props.get(ORIGIN, operators[0])
        lines.append(LayerLine(name, origin, operators, _shape(nodes[-1].outputs[0]), parameters))
    return lines

"""The float64 run of a graph: the tie-breaker when two runtimes differ by more than a few roundings.

Operators come from ``kernels``; the rest from ONNX's own reference implementation, where it is sound in float64
(``tests/verify/test_oracle.py`` runs ONNX's node tests through it). What neither knows makes the oracle unavailable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.graph import OPSET
from recast.verification.kernels import Call, Kernel, kernels
from recast.verification.sizing import sizing
from recast.verification.straying import disturbed, growth, sum_terms, weight_terms

# Operators of ONNX's reference implementation that the node tests passed in float64.
REFERENCE = frozenset((
    "Acos", "Acosh", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "Attention", "BitShift",
    "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "CenterCropPad", "Compress", "ConstantOfShape",
    "Cosh", "CumProd", "CumSum", "DepthToSpace", "Det", "Einsum", "Expand", "Gather", "GatherElements",
    "GatherND", "Hardmax", "IsInf", "IsNaN", "LpNormalization", "LpPool", "Mean", "Mod", "NonMaxSuppression",
    "NonZero", "OneHot", "Pad", "Range", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "ReverseSequence",
    "RotaryEmbedding", "ScatterElements", "ScatterND", "Shape", "Shrink", "Sinh", "Size", "Slice",
    "SpaceToDepth", "Split", "Squeeze", "Tan", "Tile", "TopK", "Trilu", "Unsqueeze", "Where",
))  # fmt: skip
_UNIT = {ir.DataType.FLOAT: 2.0**-24, ir.DataType.FLOAT16: 2.0**-11, ir.DataType.BFLOAT16: 2.0**-8}
_HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


class OracleUnavailable(Exception):
    """The graph cannot be evaluated in float64; ``str()`` says why."""


def unknown_operators(graph: ir.Graph) -> list[str]:
    """Operators of a graph (and its sub-graphs) that neither the kernels nor the sound references know."""
    known = kernels()
    missing = set()
    for node in _all_nodes(graph):
        if node.domain not in ("", "ai.onnx") or (node.op_type not in known and node.op_type not in REFERENCE):
            missing.add(node.op_type if not node.domain else f"{node.domain}.{node.op_type}")
    return sorted(missing)


def _all_nodes(graph: ir.Graph) -> Iterable[ir.Node]:
    return ir.traversal.RecursiveGraphIterator(graph)


def is_quantised(graph: ir.Graph) -> bool:
    """Whether computed values are rounded to integers somewhere in the graph."""
    return any(n.op_type == "QuantizeLinear" for n in _all_nodes(graph))


@dataclass(frozen=True)
class _Step:
    node: ir.Node
    run: Kernel
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    spent: tuple[str, ...]


class _Values(dict[str, np.ndarray]):
    """Values of one run. A weight is brought into the run's precision at its first use, and freed after its last."""

    def __init__(self, weights: Mapping[str, np.ndarray], made: Callable[[str, np.ndarray], np.ndarray]) -> None:
        self._weights, self._made = weights, made

    def __missing__(self, name: str) -> np.ndarray:
        value = self[name] = self._made(name, self._weights[name])
        return value


class Oracle:
    """Evaluates one graph.

    Args:
        model: a graph in the dialect.

    Args (``unit``): a coarser rounding unit to disturb float runs with: that of the type the target computes in.

    Raises:
        OracleUnavailable: operators are not known (all are named).
    """

    def __init__(self, model: ir.Model, unit: float = 0.0) -> None:
        missing = unknown_operators(model.graph)
        if missing or model.functions:
            raise OracleUnavailable("no float64 meaning for " + ", ".join(missing or ["model-local functions"]))
        self.model, self.unit = model, unit
        self.quantised = is_quantised(model.graph)

    @cached_property
    def _steps(self) -> list[_Step]:
        return _plan(self.model.graph)

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        exact: bool = True,
        wanted: Sequence[str] | None = None,
        jitter: np.random.Generator | None = None,
    ) -> dict[str, np.ndarray]:
        """Evaluate.

        Args:
            feeds: arrays by graph input name.
            exact: in float64; else in the graph's own element types.
            wanted: names of values to return (default: the graph outputs).
            jitter: disturb the run as correct low-precision runtimes would: quantised graphs get random jitter
                before each rounding, float graphs random relative errors of the value's own unit everywhere.

        Raises:
            OracleUnavailable: an operator's variant is not known.
        """
        graph = self.model.graph
        names = list(wanted) if wanted is not None else [o.name or "" for o in graph.outputs]
        types = {v.name: v.dtype for v in (*graph.initializers.values(), *graph.inputs)}
        rng = None if self.quantised else jitter

        def entering(name: str, array: np.ndarray) -> np.ndarray:
            array = _entering(array, exact)
            if name in self._sizing:
                return array
            if name in self._weights:
                return self._stray(name, array, graph, rng)
            return disturbed(array, self._unit(types.get(name)), rng)

        values = _Values(self._weights, entering)
        values.update({name: entering(name, array) for name, array in feeds.items()})
        if self._nested:  # sub-graphs see every weight
            values.update({name: values[name] for name in self._weights})
        with np.errstate(all="ignore"):
            self._evaluate(self._steps, values, set(names), exact, jitter)
        return {name: values[name] for name in names}

    def _unit(self, dtype: ir.DataType | None) -> float | None:
        """The rounding unit of a type, or of the coarser type that the target computes in."""
        unit = _UNIT.get(dtype) if dtype is not None else None
        return None if unit is None else max(unit, self.unit)

    @cached_property
    def _sizing(self) -> frozenset[str]:
        return sizing(self.model.graph)

    @cached_property
    def _weights(self) -> dict[str, np.ndarray]:
        held = self.model.graph.initializers.items()
        return {name: value.const_value.numpy() for name, value in held if value.const_value is not None}

    def _stray(self, name: str, array: np.ndarray, graph: ir.Graph, rng: np.random.Generator | None) -> np.ndarray:
        """A weight disturbed as much as the sums over it stray; sub-graphs' weights like the main graph's."""
        unit = self._unit(graph.initializers[name].dtype)
        return disturbed(array, None if unit is None else unit * growth(weight_terms(array.shape)), rng)

    def _moved(
        self,
        node: ir.Node,
        inputs: Sequence[np.ndarray | None],
        array: np.ndarray,
        value: ir.Value,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """A computed value disturbed as a runtime's own rounding would; long sums stray more."""
        unit = self._unit(value.dtype)
        if unit is None:
            return array
        terms = sum_terms(node, inputs, array)
        return disturbed(array, max(unit, _UNIT[ir.DataType.FLOAT] * growth(terms)), rng, node.op_type)

    @cached_property
    def _nested(self) -> bool:
        return any(node.graph is not self.model.graph for node in _all_nodes(self.model.graph))

    def _evaluate(
        self,
        steps: list[_Step],
        values: dict[str, np.ndarray],
        keep: set[str],
        exact: bool,
        jitter: np.random.Generator | None,
    ) -> None:
        def subgraph(graph: ir.Graph, scope: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            rng = None if self.quantised else jitter
            held = _weights(graph, exact).items()
            inner = {**scope, **{n: a if n in self._sizing else self._stray(n, a, graph, rng) for n, a in held}}
            outputs = [o.name or "" for o in graph.outputs]
            self._evaluate(_plan(graph, free=False), inner, set(outputs), exact, jitter)
            return [inner[o] for o in outputs]

        for step in steps:
            inputs = tuple(values[n] if n else None for n in step.inputs)
            try:
                result = step.run(Call(step.node, inputs, exact, jitter, values, subgraph))
            except Exception as error:  # kernels and the reference raise many kinds
                raise OracleUnavailable(
                    f"{step.node.op_type} ({step.node.name}): {type(error).__name__}: {str(error)[:200]}"
                ) from error
            parts = result if isinstance(result, tuple) else (result,)
            if len(parts) < len(step.outputs) and any(step.outputs[len(parts) :]):
                raise OracleUnavailable(f"{step.node.op_type} ({step.node.name}): not all outputs are evaluated")
            for name, value, array in zip(step.outputs, step.node.outputs, parts, strict=False):
                if name:
                    array = _leaving(array, value, exact)
                    if jitter is not None and not self.quantised and name not in self._sizing:
                        array = self._moved(step.node, inputs, array, value, jitter)
                    values[name] = array
            for name in step.spent:
                if name not in keep:
                    values.pop(name, None)


def _plan(graph: ir.Graph, free: bool = True) -> list[_Step]:
    known = kernels()
    last: dict[str, int] = {}
    nodes = list(graph)
    nested = any(
        a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for n in nodes for a in n.attributes.values()
    )
    for index, node in enumerate(nodes):
        for value in node.inputs:
            if value is not None:
                last[value.name or ""] = index
    spent: dict[int, list[str]] = {}
    for name, index in last.items():
        spent.setdefault(index, []).append(name)
    steps = []
    for index, node in enumerate(nodes):
        steps.append(
            _Step(
                node,
                known.get(node.op_type) or _reference(node),
                tuple((v.name or "") if v is not None else "" for v in node.inputs),
                tuple(o.name or "" for o in node.outputs),
                tuple(spent.get(index, ())) if free and not nested else (),
            )
        )
    return steps


def _weights(graph: ir.Graph, exact: bool) -> dict[str, np.ndarray]:
    found = {}
    for name, value in graph.initializers.items():
        if value.const_value is not None:
            found[name] = _entering(value.const_value.numpy(), exact)
    return found


def _floating(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _entering(array: np.ndarray, exact: bool) -> np.ndarray:
    if _floating(array):
        if exact:
            return array.astype(np.float64)
        if array.dtype.itemsize == 2:
            return array.astype(np.float32)
    if array.dtype.name in ("int4", "uint4", "int2", "uint2"):
        return array.astype(np.int8 if array.dtype.name.startswith("int") else np.uint8)
    return array


def _leaving(array: np.ndarray, value: ir.Value, exact: bool) -> np.ndarray:
    """In the native run, half-precision values are rounded to their type after each operator (computed in float32)."""
    if exact or value.dtype not in _HALF or not _floating(array):
        return array
    return np.asarray(array).astype(value.dtype.numpy()).astype(np.float32)


def _reference(node: ir.Node) -> Kernel:
    """The operator's own reference implementation, made once per node."""
    made: list[Any] = []

    def run(call: Call) -> np.ndarray | tuple[np.ndarray, ...]:
        names = [f"i{k}" if v is not None else "" for k, v in enumerate(call.inputs)]
        if not made:
            made.append(_evaluator(node, names))
        feeds = {n: np.asarray(v) for n, v in zip(names, call.inputs, strict=True) if n and v is not None}
        return tuple(np.asarray(r) for r in made[0].run(None, feeds))

    return run


def _evaluator(node: ir.Node, names: list[str]) -> Any:
    from onnx import TypeProto, helper
    from onnx.reference import ReferenceEvaluator

    outputs = [f"o{k}" if o.name else "" for k, o in enumerate(node.outputs)]
    proto = helper.make_node(node.op_type, names, outputs)
    proto.attribute.extend(ir.serde.serialize_attribute(a) for a in node.attributes.values())
    graph = helper.make_graph(
        [proto],
        "one",
        [helper.make_value_info(n, TypeProto()) for n in names if n],
        [helper.make_value_info(n, TypeProto()) for n in outputs if n],
    )
    return ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)]))

"""A copy of the graph whose roundings are adjustable: ranges and weights change between runs, the session stays.

Behind every value of a group stands ``clip(round(x / scale), low, high) * scale``; scale, low, high and a switch are
initializers that a run may override, and so are the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType

import numpy as np
import onnx_ir as ir

from recast._util import child
from recast._util.child import RemoteRunner
from recast.graph.infer import constant
from recast.measure.calibrate import Graph, elements
from recast.measure.data import Samples
from recast.measure.walk import Walk

Range = tuple[float, int]  # scale, zero point


class Probe:
    """An adjustable copy of a model (a context manager; it owns child processes).

    Args:
        model: not changed.
        groups: values to round; those of a group share one switch and scale.
        adjustable: names of initializers that ``set`` may change.
        integers: (lowest, highest) of the activations' integers.
    """

    def __init__(
        self, model: ir.Model, groups: Sequence[Sequence[str]], adjustable: Sequence[str], integers: tuple[int, int]
    ) -> None:
        self.integers = integers
        self.elements = elements(model.graph)  # that one sample computes
        copy = model.clone()
        self._held: dict[str, np.ndarray] = {}
        self._behind: dict[str, str] = {}
        values = {v.name: v for v in [*copy.graph.inputs, *(o for n in copy.graph for o in n.outputs)]}
        for number, group in enumerate(groups):
            parts = [self._parameter(copy.graph, f"recast.{number}.{n}", a) for n, a in _OFF.items()]
            for name in group:
                self._insert(copy.graph, values[name], parts)
        self._numbers = {name: number for number, group in enumerate(groups) for name in group}
        self._adjustable = [*adjustable, *self._held]
        self._graph = Graph(copy, self._adjustable)
        self._pool = child.pool()
        self._pool.__enter__()

    def __enter__(self) -> Probe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, trace)
        self._graph.__exit__(kind, error, trace)

    def _parameter(self, graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
        tensor = constant(array, name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        graph.initializers.add(value)
        self._held[name] = array
        return value

    def _insert(self, graph: ir.Graph, value: ir.Value, parts: Sequence[ir.Value]) -> None:
        scale, low, high, switch = parts
        uses, producer = list(value.uses()), value.producer()
        made = []

        def step(op_type: str, inputs: Sequence[ir.Value | None]) -> ir.Value:
            node = ir.node(op_type, inputs, name=f"{value.name}/recast.{op_type}")
            out = node.outputs[0]
            out.name, out.shape, out.type = f"{value.name}/recast.{op_type}_out", value.shape, value.type
            made.append(node)
            return out

        units = step("Round", [step("Div", [value, scale])])
        rounded = step("Where", [switch, step("Mul", [step("Clip", [units, low, high]), scale]), value])
        if producer is not None:
            graph.insert_after(producer, made)
        else:
            graph.insert_before(next(iter(graph)), made)
        for use in uses:
            use.node.replace_input_with(use.idx, rounded)
        for index, output in enumerate(graph.outputs):
            if output is value:
                graph.outputs[index] = rounded
        self._behind[value.name or ""] = rounded.name or ""

    @property
    def parameters(self) -> list[str]:
        """Names of the initializers that hold the ranges."""
        return [f"recast.{number}.{key}" for number in set(self._numbers.values()) for key in _OFF]

    def behind(self, name: str) -> str:
        """The name of a value after its rounding."""
        return self._behind.get(name, name)

    def turn_on(self, name: str, parameters: Range | None) -> None:
        """Round a value's whole group with a scale and zero point; None: do not round."""
        number = self._numbers[name]
        if parameters is None:
            self._held[f"recast.{number}.switch"] = np.array(False)
            return
        scale, zero = parameters
        lowest, highest = self.integers
        for key, figure in (("scale", scale), ("low", lowest - zero), ("high", highest - zero)):
            self._held[f"recast.{number}.{key}"] = np.array(figure, np.float32)
        self._held[f"recast.{number}.switch"] = np.array(True)

    def set(self, weights: Mapping[str, np.ndarray]) -> None:
        """Other weights from now on."""
        self._held |= {n: np.asarray(a, np.float32) for n, a in weights.items()}

    def open(self, outputs: Sequence[str]) -> RemoteRunner:
        """A runner with the present settings; ``update`` brings later ones in."""
        runner = self._graph.open(outputs, optimise=True)
        self.update(runner)
        return runner

    def update(self, runner: RemoteRunner, names: Sequence[str] | None = None) -> None:
        """Bring the present settings (of these initializers) into a runner."""
        runner.call("hold", self._held if names is None else {n: self._held[n] for n in names if n in self._held})

    def walk(self, samples: Samples, values: Sequence[str]) -> Walk:
        """A walk to these values; see ``Walk.changed`` for settings that change on the way."""
        return Walk(self._graph, samples, values, self.update)

    def run(self, samples: Samples, outputs: Sequence[str], batch: int = 16) -> dict[str, np.ndarray]:
        """These values for all samples, with the present settings."""
        parts: dict[str, list[np.ndarray]] = {n: [] for n in outputs}
        with self.open(outputs) as runner:
            for feeds in samples.batches(runner.inputs, batch):
                for name, value in runner.run(feeds).items():
                    parts[name].append(value)
        return {n: np.concatenate(p)[: samples.count] for n, p in parts.items()}


_OFF = {
    "scale": np.array(1, np.float32),
    "low": np.array(0, np.float32),
    "high": np.array(1, np.float32),
    "switch": np.array(False),
}

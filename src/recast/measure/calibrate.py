"""Look into a running graph: intermediate tensors of some samples, or streamed statistics of all of them.

The graph runs in ONNX Runtime in a child process. ``observe`` exposes intermediate tensors in groups whose bytes are
bounded, one group after another: memory follows the group, not the number of samples or tensors.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir

from recast._util import progress
from recast._util.child import RemoteRunner
from recast.measure.histogram import Histogram
from recast.measure.runnable import runnable

if TYPE_CHECKING:
    from recast.measure.data import Samples

_MODULE = "recast.measure._collect"
GROUP_BYTES = 64 << 20
_INLINE = 1 << 20  # weights above this stay in a file of their own, mapped by the runtime


class Graph:
    """A graph on disk whose intermediate tensors can be asked for (a context manager; the files go with it).

    Args:
        model: a graph in the dialect (standard operators only); it is not changed. What ONNX Runtime has no kernel
            for is written as other operators in a copy, where all values keep their names.
        adjustable: names of initializers that ``hold`` of a runner may override.
    """

    def __init__(self, model: ir.Model, adjustable: Sequence[str] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="recast-")
        self._path = Path(self._folder.name)
        self.model = model = runnable(model, adjustable)
        size = sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None)
        if size > _INLINE:
            held = ir.Model(model.graph.clone(), ir_version=model.ir_version, functions=list(model.functions.values()))
            ir.save(held, self._path / "graph.onnx", external_data="weights.bin")
            self._proto = onnx.load(str(self._path / "graph.onnx"), load_external_data=False)
        else:
            self._proto = ir.to_proto(model)
        for name in adjustable:
            value = model.graph.initializers[name]
            held = onnx.ValueInfoProto(name=name)
            if value.dtype is not None and value.shape is not None:
                held = onnx.helper.make_tensor_value_info(name, int(value.dtype), list(value.shape.numpy()))
            self._proto.graph.input.append(held)
        self._count = 0
        self._known = {
            v.name: v for v in [*self._proto.graph.input, *self._proto.graph.output, *self._proto.graph.value_info]
        }

    def __enter__(self) -> Graph:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def open(self, outputs: Sequence[str], optimise: bool = False) -> RemoteRunner:
        """A runner whose outputs are these values (the graph's own and intermediate ones)."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self._proto)
        return self._opened(proto, outputs, optimise)

    def part(self, nodes: Sequence[int], inputs: Sequence[str], outputs: Sequence[str]) -> RemoteRunner:
        """An optimised runner of some nodes alone (ascending numbers); ``inputs``: what they read of others."""
        whole = self._proto.graph
        read = {name for number in nodes for name in self.read[number]}
        held = {t.name for t in whole.initializer}
        proto = onnx.ModelProto(
            ir_version=self._proto.ir_version, opset_import=self._proto.opset_import, functions=self._proto.functions
        )
        proto.graph.name = whole.name
        proto.graph.node.extend(whole.node[number] for number in nodes)
        proto.graph.initializer.extend(t for t in whole.initializer if t.name in read)
        proto.graph.input.extend(self._known[n] for n in inputs)
        proto.graph.input.extend(v for v in whole.input if v.name in held and v.name in read)
        return self._opened(proto, outputs, True)

    def _opened(self, proto: onnx.ModelProto, outputs: Sequence[str], optimise: bool) -> RemoteRunner:
        del proto.graph.output[:]
        proto.graph.output.extend(self._known.get(n, onnx.ValueInfoProto(name=n)) for n in dict.fromkeys(outputs))
        self._count += 1
        path = self._path / f"part{self._count}.onnx"
        path.write_bytes(proto.SerializeToString())
        return RemoteRunner(_MODULE, path, {"optimise": optimise})

    @cached_property
    def made(self) -> list[list[str]]:
        """What each node of the main graph computes."""
        return [[n for n in node.output if n] for node in self._proto.graph.node]

    @cached_property
    def read(self) -> list[set[str]]:
        """What each node of the main graph reads, its sub-graphs included."""
        return [_read(node) for node in self._proto.graph.node]

    def is_typed(self, name: str) -> bool:
        """Whether a value's element type is known, so that a part may begin with it."""
        return name in self._known and self._known[name].type.tensor_type.elem_type != 0

    def run(self, samples: Samples, outputs: Sequence[str], batch: int = 32) -> dict[str, np.ndarray]:
        """These values for all samples, stacked along the first axis (so: for few samples or few values)."""
        parts: dict[str, list[np.ndarray]] = {n: [] for n in outputs}
        with self.open(outputs) as runner:
            for feeds in samples.batches(runner.inputs, batch):
                for name, value in runner.run(feeds).items():
                    parts[name].append(value)
        return {n: np.concatenate(p)[: samples.count] if p[0].ndim else np.stack(p) for n, p in parts.items()}

    def observe(
        self, samples: Samples, values: Sequence[str], batch: int = 8, group_bytes: int = GROUP_BYTES
    ) -> dict[str, Histogram]:
        """Statistics of float values over all samples.

        Args:
            samples: what to run on.
            values: names of values; those that are no floats are left out of the result.
            batch: samples in one run.
            group_bytes: bound of what is exposed in one run.
        """
        found: dict[str, Histogram] = {}
        for name in samples.feeds.keys() & set(values):
            if samples.feeds[name].dtype.kind == "f":
                found[name] = Histogram()
                found[name].add(samples.feeds[name])
        groups = self._groups([n for n in values if n not in samples.feeds], batch, group_bytes)
        for number, group in enumerate(groups):
            progress.emit("calibrating", number, len(groups))
            with self.open(group) as runner:
                for feeds in samples.batches(runner.inputs, batch):
                    runner.call("observe", feeds)
                names, arrays = runner.call("result")
            for index, name in enumerate(names):
                found[name] = Histogram.of(arrays[f"{index}.counts"], arrays[f"{index}.facts"])
        return found

    def _groups(self, values: Sequence[str], batch: int, group_bytes: int) -> list[list[str]]:
        wanted, sizes = set(values), _sizes(self.model.graph, batch)
        ordered = [n for n in sizes if n in wanted]  # in the order of computing, so that early groups run little
        groups: list[list[str]] = []
        room = 0
        for name in ordered:
            if not groups or sizes[name] > room:
                groups.append([])
                room = group_bytes
            groups[-1].append(name)
            room -= sizes[name]
        return groups


def elements(graph: ir.Graph) -> int:
    """Elements of all values of a graph for one sample, at least 1; unknown dimensions count as 1."""
    return max(1, sum(_sizes(graph, 1).values()) // 4)


def _read(node: onnx.NodeProto) -> set[str]:
    inner = (a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)
    return {n for n in node.input if n}.union(*(_read(each) for graph in inner for each in graph.node))


def _sizes(graph: ir.Graph, batch: int) -> Mapping[str, int]:
    """Bytes of every value of the main graph; unknown dimensions count as the batch."""
    sizes = {}
    for value in [*graph.inputs, *(v for n in graph for v in n.outputs)]:
        dims = [d if isinstance(d, int) else batch for d in value.shape or ()]
        sizes[value.name or ""] = int(np.prod(dims, dtype=np.int64)) * 4
    return sizes

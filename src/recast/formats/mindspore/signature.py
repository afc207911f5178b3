"""Names, element types and shapes of a MindIR file's inputs and outputs."""

from __future__ import annotations

import re
from pathlib import Path

from recast._util.bounded import open_bytes
from recast._util.child import TensorSpec
from recast.errors import BadModel
from recast.formats.mindspore import wire
from recast.formats.mindspore.types import DATA_TYPES

_FIX = "export the model again"
_INNER = re.compile(r":\d+$|CNode_|^\d+$")


def load(path: Path) -> wire.Message:
    """Parse a file into a ModelProto that has a graph.

    Raises:
        BadModel, TooLarge: it is damaged.
    """
    model = wire.decode("Model", open_bytes(path))
    if "graph" not in model:
        raise BadModel("the file holds no graph", str(path), _FIX)
    return model


def plain(name: str, graph: wire.Message) -> str:
    """A tensor's name without the graph's own name before it."""
    prefix = graph.get("name", "") + ":"
    return name[len(prefix) :] if name.startswith(prefix) else name


def output_tensors(graph: wire.Message) -> list[wire.Message]:
    """TensorProtos of all outputs, tuples flattened."""
    found: list[wire.Message] = []

    def walk(attribute: wire.Message) -> None:
        found.extend(attribute.get("tensors", ()))
        for value in attribute.get("values", ()):
            walk(value)

    for output in graph.get("output", ()):
        found.extend(output.get("tensor", ()))
        if "attr_info" in output:
            walk(output["attr_info"])
    return found


def output_names(graph: wire.Message, count: int) -> list[str]:
    """Names of the outputs: the file's own where it has any (MindSpore's exporter numbers its tensors)."""
    infos = graph.get("output", ())
    names = [o.get("name", "") for o in infos]
    if len(names) == 1 and count != 1:
        maker: wire.Message = next((n for n in graph.get("node", ()) if names[0] in n.get("output", ())), {})
        names = list(maker.get("input", ()))
    prefix = graph.get("name", "") + ":"
    foreign = len(names) != count or len(set(names)) != count or any(not n or n.startswith(prefix) for n in names)
    if not foreign and not any(_INNER.search(n) for n in names):
        return names
    return ["output"] if count == 1 else [f"output{i}" for i in range(count)]


def dimension_names(dims: list[int]) -> tuple[int | str, ...]:
    """Unknown dimensions get names; an unknown first one is the batch."""
    return tuple(d if d >= 0 else ("batch" if i == 0 else f"dim{i}") for i, d in enumerate(dims))


def spec(tensor: wire.Message, name: str) -> TensorSpec:
    """A TensorProto without data as a spec."""
    dtype = DATA_TYPES.get(tensor.get("data_type", 0))
    if dtype is None:
        raise BadModel(f"element type {tensor.get('data_type', 0)} is not known", f"tensor {name}", _FIX)
    return TensorSpec(name, str(dtype.numpy()), dimension_names(tensor.get("dims", [])))


def signature(path: Path) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Specs of the inputs and outputs of a file."""
    graph = load(path)["graph"]
    inputs = []
    for info in graph.get("input", ()):
        if len(info.get("tensor", ())) != 1:
            raise BadModel("an input is not a tensor", f"input {info.get('name', '')}", _FIX)
        inputs.append(spec(info["tensor"][0], plain(info.get("name", ""), graph)))
    tensors = output_tensors(graph)
    names = output_names(graph, len(tensors))
    return inputs, [spec(t, n) for t, n in zip(tensors, names, strict=True)]

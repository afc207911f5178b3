"""One graph → the text of a Python module and its weights."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from recast import __version__
from recast.errors import UnsupportedOp, UnsupportedType
from recast.formats.torch.write_state import Entry
from recast.formats.torch.writing import Refuse, _support
from recast.formats.torch.writing._emitter import Emitter
from recast.formats.torch.writing._names import class_name
from recast.formats.torch.writing._types import TYPES
from recast.graph import PERM, view

MARKER = "# Written by Recast"
_TAKES_NONE = "Tensor | None"


@dataclass(frozen=True)
class Source:
    """The module's text, its class, and the tensors of its state dict."""

    text: str
    class_name: str
    entries: list[Entry]


def generate(model: ir.Model, weights_suffix: str = ".safetensors") -> Source:
    """Turn a model into PyTorch source.

    Raises:
        UnsupportedOp: operators without a PyTorch form, all of them.
        UnsupportedType: element types of inputs or outputs that PyTorch does not have.
    """
    graph = model.graph
    _check_types(graph)
    emitter = Emitter(graph)
    emitter.run(graph)
    results = []
    for value in graph.outputs:
        try:
            results.append(emitter.tensor(value))
        except Refuse as reason:
            emitter.problems.append(f"output {value.name}: {reason}")
    if emitter.problems:
        unique = list(dict.fromkeys(emitter.problems))
        raise UnsupportedOp(
            f"{len(unique)} operators cannot be written as PyTorch: " + "; ".join(unique),
            graph.name or "",
            "write another format, or replace these layers",
        )
    name = class_name(graph.name or "Net")
    return Source(_module_text(name, graph, emitter, results, weights_suffix), name, emitter.entries)


def _check_types(graph: ir.Graph) -> None:
    bad = []
    for side, values in (("input", graph.inputs), ("output", graph.outputs)):
        for value in values:
            if isinstance(value.type, ir.TensorType) and value.dtype not in TYPES:
                bad.append(f"{side} {value.name} is {value.dtype.name if value.dtype else 'of unknown type'}")
    if bad:
        raise UnsupportedType("PyTorch does not have these element types: " + ", ".join(bad), graph.name or "")


def _module_text(name: str, graph: ir.Graph, emitter: Emitter, results: list[str], suffix: str) -> str:
    outputs = ", ".join(results) if len(results) != 1 else results[0]
    returns = (
        _annotation(graph.outputs[0])
        if len(results) == 1
        else ("tuple[" + ", ".join(_annotation(v) for v in graph.outputs) + "]")
    )
    arguments = ", ".join(f"{n}: {_annotation(v)}" for n, v in zip(emitter.arguments, graph.inputs, strict=True))
    init = textwrap.indent("\n".join(["super().__init__()", *emitter.tree.lines()]), " " * 8)
    forward = emitter.tree.resolve("\n".join([*emitter.lines, f"        return {outputs or 'None'}"]))
    head = f"    def forward(self{', ' if arguments else ''}{arguments}) -> {returns}:"
    if len(head) > 118:
        head = (
            "    def forward(\n        self,\n"
            + "".join(f"        {a},\n" for a in arguments.split(", "))
            + f"    ) -> {returns}:"
        )
    start = f"class {name}(nn.Module):\n{_docstring(graph, emitter)}\n\n    def __init__(self) -> None:\n{init}"
    body = f"{start}\n\n{head}\n{forward}\n"
    helpers = [text + "\n" for text in _support.closure(sorted(emitter.support))]
    specs = _specs("INPUTS", graph.inputs) + _specs("OUTPUTS", graph.outputs)
    parts = [*helpers, body, _loader(name, suffix)]
    code = "\n\n".join(parts)
    return f"{MARKER} {__version__}\n{_imports(code, suffix)}\n{specs}\n\n{code}"


def _imports(code: str, suffix: str) -> str:
    lines = ["from __future__ import annotations", ""]
    if re.search(r"\bmath\.", code):
        lines.append("import math")
    lines += ["from pathlib import Path", ""]
    if re.search(r"\btorch\.", code):
        lines.append("import torch")
    if re.search(r"\bF\.", code):
        lines.append("import torch.nn.functional as F")
    if suffix == ".safetensors":
        lines.append("from safetensors.torch import load_file")
    lines.append("from torch import Tensor, nn")
    return "\n".join(lines) + "\n"


def _specs(title: str, values: Sequence[ir.Value]) -> str:
    """``INPUTS = [("x", "float32", ["batch", 3])]``: plain data for whoever runs the module."""
    lines = [f"{title}: list[tuple[str, str, list[int | str]]] = ["]
    for value in values:
        shape = [] if value.shape is None else list(view.dims(value))
        shown = [d if isinstance(d, int) else (d or f"d{i}") for i, d in enumerate(shape)]
        lines.append(
            f"    ({_ascii(value.name or '')}, {_ascii(type_name(value))}, [{', '.join(map(_ascii, shown))}]),"
        )
    return "\n".join([*lines, "]"]) + "\n" if values else f"{title}: list[tuple[str, str, list[int | str]]] = []\n"


def _ascii(item: int | str) -> str:
    text = ascii(item)
    return f'"{text[1:-1]}"' if text.startswith("'") and '"' not in text and "\\" not in text else text


def type_name(value: ir.Value) -> str:
    """``float32``, ``sequence(float32)``, ``optional(…)``."""
    return _type_text(value.type)


def _type_text(kind: ir.TypeProtocol | None) -> str:
    if isinstance(kind, ir.SequenceType):
        return f"sequence({_type_text(kind.elem_type)})"
    if isinstance(kind, ir.OptionalType):
        return f"optional({_type_text(kind.elem_type)})"
    if isinstance(kind, ir.TensorType) and kind.dtype in TYPES:
        return TYPES[kind.dtype].torch
    return "unknown"


def _annotation(value: ir.Value) -> str:
    if isinstance(value.type, ir.SequenceType):
        return "list[Tensor]"
    if isinstance(value.type, ir.OptionalType):
        inner = value.type.elem_type
        return "list[Tensor] | None" if isinstance(inner, ir.SequenceType) else _TAKES_NONE
    return "Tensor"


def _docstring(graph: ir.Graph, emitter: Emitter) -> str:
    title = _plain(graph.name or "The network")
    lines = [f'"""{title}.', ""]
    for heading, values in (("Inputs", graph.inputs), ("Outputs", graph.outputs)):
        lines.append(f"{heading}:")
        for index, value in enumerate(values):
            name = emitter.arguments[index] if heading == "Inputs" else _plain(value.name or "")
            shape = (
                "?" if value.shape is None else ", ".join(str(d) if d is not None else "?" for d in view.dims(value))
            )
            note = f", axes permuted by ({_plain(value.metadata_props[PERM])})" if PERM in value.metadata_props else ""
            lines.append(f"    {name}: {type_name(value)} ({_plain(shape)}){note}")
    lines.append('"""')
    return textwrap.indent("\n".join(lines), "    ")


def _plain(text: str) -> str:
    """Text from a file inside a docstring: letters, digits and harmless signs only."""
    return re.sub(r"[^A-Za-z0-9_ .,:/()?*+-]", "_", text)[:200]


def _loader(name: str, suffix: str) -> str:
    read = "load_file(weights)" if suffix == ".safetensors" else "torch.load(weights, weights_only=True)"
    return (
        f'def load(weights: str | Path = Path(__file__).with_suffix("{suffix}")) -> {name}:\n'
        f'    """Build the network with its weights, ready for inference (call ``.train()`` to go on training)."""\n'
        f"    model = {name}()\n"
        f"    model.load_state_dict({read})\n"
        f"    return model.eval()\n"
    )

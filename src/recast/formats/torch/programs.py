"""Files that are programs: ``.py`` with ``load()``, and ``.pt2``. Reading them runs their code (only with ``--trust``).

Needs PyTorch; runs in a child process, as part of ``capture.Session``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from recast._util.child import TensorSpec
from recast._util.optional import need
from recast.errors import BadModel, BadRecipe
from recast.formats.torch.run import SPECS, import_file
from recast.graph import dims
from recast.passes.normalise import by_name

SUFFIXES = (".py", ".pt2")
_SIZES = (3, 5, 7, 11, 13, 17, 19, 23)  # of dynamic dimensions while tracing: none is 1, none equals another


@dataclass
class Program:
    """A network with what its tensors are called.

    Attributes:
        module: an ``nn.Module``.
        inputs, outputs: names, element types, shapes (a ``str``: dynamic). ``outputs`` is empty where not known.
        exported: the ``ExportedProgram`` that the module comes from, or None.
    """

    module: Any
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    exported: Any = None

    def renewed(self, shapes: Mapping[str, Sequence[int | str]]) -> list[TensorSpec]:
        """The inputs with other shapes, by name or ``#position``.

        Raises:
            BadRecipe: there is no such input.
        """
        names = [s.name for s in self.inputs]
        given = by_name(shapes, names)
        unknown = [k for k in given if k not in names]
        if unknown:
            raise BadRecipe(f"the program has no input '{unknown[0]}'", fix=f"its inputs: {', '.join(names)}")
        return [TensorSpec(s.name, s.dtype, tuple(given.get(s.name, s.shape))) for s in self.inputs]

    def examples(self) -> tuple[tuple[Any, ...], tuple[dict[int, Any], ...] | None]:
        """Tensors to trace with, and which of their dimensions stay dynamic (``dynamic_shapes``)."""
        torch = need("torch", "torch")
        names = sorted(dims.names(d for s in self.inputs for d in s.shape))
        sizes = {name: _SIZES[i % len(_SIZES)] for i, name in enumerate(names)}
        tensors = tuple(torch.zeros(dims.filled(s.shape, sizes), dtype=getattr(torch, s.dtype)) for s in self.inputs)
        free = torch.export.Dim.DYNAMIC
        dynamic = tuple({i: free for i, d in enumerate(s.shape) if isinstance(d, str)} for s in self.inputs)
        return tensors, dynamic if names else None


def load(path: Path) -> Program:
    """Load a program; its code runs.

    Raises:
        BadModel: it does not load, or does not say what it takes.
    """
    try:
        return _load_pt2(path) if path.suffix.lower() == ".pt2" else _load_source(path)
    except (BadModel, BadRecipe):
        raise
    except Exception as error:
        raise BadModel(
            f"it does not load: {type(error).__name__}: {str(error)[:300]}", str(path), "load it in PyTorch to see why"
        ) from error


def _load_source(path: Path) -> Program:
    module = import_file(path)
    if not callable(getattr(module, "load", None)):
        raise BadRecipe(f"{path.name} has no load()", str(path), f"name a factory: {path.name}:function")
    specs = [_specs(getattr(module, title, ())) for title in ("INPUTS", "OUTPUTS")]
    return Program(module.load(), *specs)


def _load_pt2(path: Path) -> Program:
    torch = need("torch", "torch")
    extra = {SPECS: ""}
    exported = torch.export.load(str(path), extra_files=extra)
    if extra[SPECS]:
        told = json.loads(extra[SPECS])
        return Program(exported.module(), _specs(told["inputs"]), _specs(told["outputs"]), exported)
    wanted = set(exported.graph_signature.user_inputs)
    nodes = [n for n in exported.graph.nodes if n.op == "placeholder" and n.name in wanted]
    if len(nodes) != len(wanted):
        raise BadModel("the exported program takes arguments that are no tensors", str(path), "export tensors only")
    return Program(exported.module(), [_spec_of(n) for n in nodes], [], exported)


def _spec_of(node: Any) -> TensorSpec:
    value = node.meta["val"]
    return TensorSpec(
        node.name,
        str(value.dtype).removeprefix("torch."),
        tuple(d if isinstance(d, int) else _word(str(d)) for d in value.shape),
    )


def _word(text: str) -> str:
    return re.sub(r"\W", "_", text)


def _specs(told: Sequence[Any]) -> list[TensorSpec]:
    return [TensorSpec(str(n), str(d), tuple(s)) for n, d, s in told]


def rename(model: ir.Model, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Give a captured graph the program's own names: inputs, outputs, dynamic dimensions."""
    symbols: dict[str, str] = {}
    for value, spec in zip(model.graph.inputs, inputs, strict=False):
        for found, wanted in zip(value.shape or (), spec.shape, strict=False):
            if isinstance(found, ir.SymbolicDim) and found.value and isinstance(wanted, str):
                symbols.setdefault(found.value, wanted)
    held = [v for n in model.graph.all_nodes() for v in n.outputs]
    for value in {id(v): v for v in (*model.graph.inputs, *held)}.values():
        if value.shape is not None and symbols:
            value.shape = ir.Shape([_renamed(d, symbols) for d in value.shape])
    wishes = [
        *zip(model.graph.inputs, inputs, strict=False),
        *zip(model.graph.outputs, outputs, strict=False),
    ]
    names = {spec.name for _, spec in wishes}
    for value in {id(v): v for v in (*model.graph.inputs, *held)}.values():
        if value.name in names:  # free the name first
            value.name = f"{value.name}_inner"
    for value, spec in wishes:
        value.name = spec.name


def _renamed(dim: int | ir.SymbolicDim, symbols: dict[str, str]) -> int | str | None:
    if isinstance(dim, int):
        return dim
    if dim.value is None:
        return None
    found = dims.substitute(dim.value, symbols)
    if found != dim.value:
        return found
    return re.sub(r"[A-Za-z_]\w*", lambda m: _bracketed(symbols.get(m.group(), m.group())), dim.value)


def _bracketed(dim: str) -> str:
    return f"({dim})" if " " in dim else dim

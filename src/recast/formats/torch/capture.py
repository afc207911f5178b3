"""Capture an ``nn.Module`` as a graph: ``torch.export`` and PyTorch's own ONNX exporter, with our names.

Needs PyTorch; everything here runs either in the user's own process (``recast.from_torch``) or in a child process
(``Session``, for ``package.module:factory`` on the command line).
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from recast._util.child import TensorSpec
from recast._util.optional import need
from recast.errors import BadModel, BadRecipe, UnsupportedOp
from recast.formats.torch import pretrained, programs
from recast.formats.torch.checkpoint import read_checkpoint
from recast.graph import LAYER, ORIGIN

Shape = Sequence[int | str]
HUB = "hub:"  # before a local repository of torch.hub
_EXAMPLE_DIM = 2  # a dynamic dimension must not be 1 while tracing: torch.export would specialise it


def preload() -> None:
    """Import PyTorch."""
    need("torch", "torch")


def capture(
    module: Any, arguments: tuple[Any, ...], dynamic: Any = None, keywords: dict[str, Any] | None = None
) -> ir.Model:
    """Export a module to an ``onnx_ir`` model (not yet normalised).

    Args:
        module: an ``nn.Module``, put into eval mode for the export and back; or an ``ExportedProgram``.
        arguments: example inputs, a tuple of tensors.
        dynamic: ``dynamic_shapes`` of ``torch.export``.
        keywords: example inputs by the name of their parameter.

    Raises:
        MissingDependency: PyTorch or onnxscript is missing.
        UnsupportedOp: the module cannot be exported; PyTorch's reason is quoted.
    """
    torch = need("torch", "torch")
    need("onnxscript", "torch")
    was_training = getattr(module, "training", False)  # an exported program has no modes
    if was_training:
        module.eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module, arguments, kwargs=keywords, dynamo=True, dynamic_shapes=dynamic, optimize=False, verbose=False
            )
    except Exception as error:
        raise UnsupportedOp(
            f"PyTorch cannot export this module: {_reason(error)}",
            type(module).__name__,
            "make its forward traceable (torch.export.export must accept it); look at its message above",
        ) from error
    finally:
        if was_training:
            module.train()
    model: ir.Model = program.model
    if isinstance(module, torch.nn.Module):
        model.graph.name = type(module).__name__
    _fold(model)
    _set_origins(model)
    return model


def _reason(error: BaseException) -> str:
    """The innermost cause, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:400]}"


def _fold(model: ir.Model) -> None:
    """Shape arithmetic becomes constants; nothing is fused, so that BatchNormalization stays what it was."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass
    from onnxscript import optimizer

    optimizer.fold_constants(model, onnx_shape_inference=True)
    RemoveUnusedNodesPass()(model)


def _set_origins(model: ir.Model) -> None:
    for node in model.graph.all_nodes():
        scopes = _strings(node.metadata_props.get("pkg.torch.onnx.name_scopes"))
        classes = _strings(node.metadata_props.get("pkg.torch.onnx.class_hierarchy"))
        path = scopes[-2] if len(scopes) > 1 else ""
        kind = classes[-2] if len(classes) > 1 else ""
        leaf = kind.startswith("torch.nn.modules.") and ".container." not in kind
        last = scopes[-1] if scopes else (node.name or node.op_type).removeprefix("node_")
        if not leaf:
            path = f"{path}.{last}" if path else last
        origin = kind.rpartition(".")[2] if leaf else (classes[-1] if classes else node.op_type)
        node.metadata_props.clear()
        node.metadata_props[LAYER] = path
        node.metadata_props[ORIGIN] = origin


def _strings(text: str | None) -> list[str]:
    try:
        found = ast.literal_eval(text or "[]")
    except (ValueError, SyntaxError):
        return []
    return [str(item) for item in found]


def examples(module: Any, shapes: Mapping[str, Shape]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Example tensors and ``dynamic_shapes`` for a module's ``forward`` from shapes by name.

    A name ``#0`` means the position. A parameter whose annotation or name says token ids gets int64.
    """
    torch = need("torch", "torch")
    names = [
        p.name
        for p in inspect.signature(module.forward).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    given = {names[int(k[1:])] if k.startswith("#") and int(k[1:]) < len(names) else k: v for k, v in shapes.items()}
    unknown = [k for k in given if k not in names]
    if unknown:
        raise BadRecipe(f"forward() has no parameter '{unknown[0]}'", fix=f"its parameters: {', '.join(names)}")
    generator = torch.Generator().manual_seed(0)
    tensors, dynamic = [], {}
    dims: dict[str, Any] = {}
    for name in [n for n in names if n in given]:
        shape = given[name]
        sizes = [d if isinstance(d, int) else _EXAMPLE_DIM for d in shape]
        tensors.append(_example(torch, name, sizes, generator))
        dynamic[name] = {i: dims.setdefault(d, torch.export.Dim(d)) for i, d in enumerate(shape) if isinstance(d, str)}
    return tuple(tensors), dynamic


def _example(torch: Any, name: str, sizes: list[int], generator: Any) -> Any:
    if name in ("input_ids", "token_ids", "tokens", "ids", "position_ids", "token_type_ids", "attention_mask"):
        return torch.ones(sizes, dtype=torch.int64)
    return torch.randn(sizes, generator=generator)


def build(reference: str) -> tuple[Any, tuple[Any, ...] | None]:
    """Call the user's factory ``package.module:factory``, ``file.py:factory``, or ``hub:DIR:entry`` (``hubconf.py``).

    It may return a module, or a module and its example inputs.

    Raises:
        BadRecipe: it cannot be imported, or returns something else.
    """
    torch = need("torch", "torch")
    place, _, name = reference.rpartition(":")
    try:
        if place.startswith(HUB):
            made = torch.hub.load(place.removeprefix(HUB), name, source="local")
        else:
            factory = getattr(_module(place), name)
            made = factory if isinstance(factory, torch.nn.Module) else factory()
    except Exception as error:
        raise BadRecipe(
            f"{reference} failed: {type(error).__name__}: {str(error)[:300]}",
            fix="name an importable function or class without required arguments that returns an nn.Module",
        ) from error
    inputs = None
    if isinstance(made, tuple) and len(made) == 2:
        made, inputs = made
        inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    if not isinstance(made, torch.nn.Module):
        raise BadRecipe(f"{reference} gives a {type(made).__name__}, not an nn.Module", fix="return the module itself")
    return made.eval(), inputs


def _module(place: str) -> Any:
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        if spec is None or spec.loader is None:
            raise ImportError(place)
        module = importlib.util.module_from_spec(spec)
        sys.modules[Path(place).stem] = module
        spec.loader.exec_module(module)
        return module
    sys.path.insert(0, os.getcwd())
    return importlib.import_module(place)


def load_weights(module: Any, path: Path) -> None:
    """Load a checkpoint into a module, name by name.

    Raises:
        BadModel: names or shapes differ (all differences are listed).
    """
    torch = need("torch", "torch")
    tensors, _ = read_checkpoint(path)
    state = {name: torch.from_numpy(np.array(t.numpy())) for name, t in tensors.items()}
    if all(name.startswith("module.") for name in state):  # saved from DataParallel
        state = {name.removeprefix("module."): t for name, t in state.items()}
    wanted = module.state_dict()
    missing = [n for n in wanted if n not in state and not n.endswith("num_batches_tracked")]
    surplus = [n for n in state if n not in wanted]
    shapes = [n for n in state if n in wanted and state[n].shape != wanted[n].shape]
    if missing or surplus or shapes:
        parts = [("missing", missing), ("not in the module", surplus), ("other shape", shapes)]
        text = "; ".join(f"{len(n)} {what}: {', '.join(n[:5])}" for what, n in parts if n)
        raise BadModel(f"the weights do not fit the module: {text}", str(path), "name the factory that made this file")
    module.load_state_dict(state, strict=False)


class Session:
    """A factory's module in a child process: it runs (as the source's own runtime) and exports.

    Args:
        path: ``package.module:factory``, ``hub:DIR:entry``, a ``.py`` or ``.pt2`` file, or a Hugging Face folder.
        options: ``inputs`` (shapes by name), ``weights`` (checkpoint or None).
    """

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        self._torch = need("torch", "torch")
        self._torch.set_num_threads(int(options.get("threads", 1)))
        self.inputs: list[TensorSpec] = []
        self.outputs: list[TensorSpec] = []
        self._exportable: tuple[Any, ...] = ()
        self._loose: tuple[Any, ...] = ()  # what to export where that fails
        self._keywords: list[str] = []  # names of the arguments where they are given by name
        self._arguments, self._dynamic = self._opener(Path(path))(path, options)
        if not self._arguments:
            raise BadRecipe(
                "the shapes of the inputs are not known",
                path,
                "pass --input 1,3,224,224 (a word is a dynamic dimension)",
            )
        self._exportable = self._exportable or (self._module, self._arguments, self._dynamic)
        if not self.inputs:
            names = list(inspect.signature(self._module.forward).parameters)[: len(self._arguments)]
            dynamic = self._dynamic or {}
            self.inputs = [
                TensorSpec(n, str(a.dtype).removeprefix("torch."), _dims(a, dynamic.get(n)))
                for n, a in zip(names, self._arguments, strict=True)
            ]
        self.outputs = self.outputs or self._described()

    def _opener(self, path: Path) -> Any:
        if path.is_dir():
            return self._open_pretrained
        return self._open_program if path.suffix.lower() in programs.SUFFIXES else self._open_factory

    def _open_pretrained(self, path: str, options: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        found = pretrained.load(Path(path), options["inputs"])
        self._module, self.inputs, self._keywords = found.module, found.inputs, list(found.examples)
        if options.get("weights"):
            load_weights(self._module, Path(options["weights"]))
        self._exportable = (found.module, (), found.dynamic, found.examples)
        self._loose = (found.module, (), found.loose, found.examples)
        return tuple(found.examples.values()), found.dynamic

    def _call(self, tensors: Sequence[Any]) -> Any:
        with self._torch.no_grad():
            if self._keywords:
                return self._module(**dict(zip(self._keywords, tensors, strict=True)))
            return self._module(*tensors)

    def _described(self) -> list[TensorSpec]:
        """Results of a dictionary carry its keys; others are called ``output``, or ``output_0`` … in order."""
        try:
            result = self._call(self._arguments)
        except Exception as error:  # the user's own forward raises anything
            shapes = ", ".join(f"{s.name}{list(s.shape)}" for s in self.inputs)
            raise BadRecipe(
                f"the module does not take these inputs: {_reason(error)}",
                shapes,
                "give the shapes that it wants with --input",
            ) from error
        found, names = _flat(result), _keys(result)
        if len(set(names)) < len(found):
            names = ["output"] if len(found) == 1 else [f"output_{i}" for i in range(len(found))]
        return [
            TensorSpec(n, str(t.dtype).removeprefix("torch."), tuple(t.shape))
            for n, t in zip(names, found, strict=True)
        ]

    def _open_factory(self, path: str, options: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        self._module, given = build(path)
        if options.get("weights"):
            load_weights(self._module, Path(options["weights"]))
        return examples(self._module, options["inputs"]) if options["inputs"] else (given or (), None)

    def _open_program(self, path: str, options: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        program = programs.load(Path(path))
        self._module = program.module
        if options.get("weights"):
            load_weights(self._module, Path(options["weights"]))
        if not program.inputs:
            return examples(self._module, options["inputs"]) if options["inputs"] else ((), None)
        program.inputs = self.inputs = program.renewed(options["inputs"])
        self.outputs = program.outputs
        if program.exported is not None:
            self._exportable = (program.exported, ())
        return program.examples()

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; arrays by tensor name."""
        tensors = [self._torch.from_numpy(np.array(feeds[s.name])) for s in self.inputs]
        result = _flat(self._call(tensors))
        return {s.name: t.detach().numpy() for s, t in zip(self.outputs, result, strict=True)}

    def latency(
        self, feeds: dict[str, np.ndarray], repeats: int = 50, warmup: int = 5
    ) -> tuple[list[float], dict[str, np.ndarray]]:
        """Seconds of each of ``repeats`` runs after ``warmup`` ones."""
        tensors = [self._torch.from_numpy(np.array(feeds[s.name])) for s in self.inputs]
        times = []
        for turn in range(warmup + repeats):
            start = time.perf_counter()
            self._call(tensors)
            if turn >= warmup:
                times.append(time.perf_counter() - start)
        return times, {}

    def export(self, feeds: dict[str, np.ndarray], target: str) -> tuple[None, dict[str, np.ndarray]]:
        """Write the captured graph as ONNX with external weights."""
        try:
            model = capture(*self._exportable)
        except UnsupportedOp:
            if not self._loose:
                raise
            model = capture(*self._loose)
        programs.rename(model, self.inputs, self.outputs)
        ir.save(model, target, external_data=Path(target).name + ".data")
        return None, {}


def _dims(tensor: Any, dynamic: Mapping[int, Any] | None) -> tuple[int | str, ...]:
    named = {i: str(d.__name__) for i, d in (dynamic or {}).items()}
    return tuple(named.get(i, int(size)) for i, size in enumerate(tensor.shape))


def _keys(result: Any, path: tuple[str, ...] = ()) -> list[str]:
    """The names that a result's dictionaries give its tensors, in the order of ``_flat``; none where one has none."""
    if isinstance(result, Mapping):
        return [k for key, v in result.items() if v is not None for k in _keys(v, (*path, str(key)))]
    if isinstance(result, list | tuple):
        return [k for i, v in enumerate(result) for k in _keys(v, (*path, str(i)) if path else ())]
    return ["_".join(path)] if path and result is not None else []


def _flat(result: Any) -> list[Any]:
    if isinstance(result, Mapping):
        return [t for v in result.values() for t in _flat(v)]
    if isinstance(result, list | tuple):
        return [t for v in result for t in _flat(v)]
    return [] if result is None else [result]

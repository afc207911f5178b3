"""Capture an ``nn.Module`` as a graph: ``torch.export`` and PyTorch's own ONNX exporter, with our names.

Needs PyTorch; everything here runs either in the user's own process (``recast.from_torch``) or in a child process
(``Session``, for ``package.module:factory`` on the command line).
"""

from __future__ import annotations

import ast
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from recast._util import pages
from recast._util.child import TensorSpec
from recast._util.optional import need
from recast.errors import BadRecipe, UnsupportedOp
from recast.formats.torch import pretrained, programs
from recast.formats.torch.factory import Examples, build, examples, keywords, load_weights
from recast.formats.torch.pieces import Pieces
from recast.graph import LAYER, OPSET, ORIGIN
from recast.passes._tied import is_tied

_LARGE_BYTES = 1 << 20
_NO_SCOPE = "_empty_nn_module_stack"  # torch.export's word for what belongs to no module


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
        # kernels that keep gradients lay out their results otherwise, and the exporter expects one layout throughout
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                arguments,
                kwargs=keywords,
                dynamo=True,
                dynamic_shapes=dynamic,
                opset_version=OPSET,
                optimize=False,
                verbose=False,
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
    del program
    pages.trim()
    if isinstance(module, torch.nn.Module):
        model.graph.name = type(module).__name__
    _fold(model)
    if isinstance(module, torch.nn.Module):
        _drop_made_up_biases(model, {name for name, _ in module.named_parameters()})
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

    optimizer.fold_constants(model, onnx_shape_inference=True, should_fold=lambda n: False if is_tied(n) else None)
    RemoveUnusedNodesPass()(model)


def _drop_made_up_biases(model: ir.Model, parameters: set[str]) -> None:
    """The exporter gives a convolution without a bias one of zeros: it costs an addition, and no module has it."""
    for node in model.graph:
        bias = node.inputs[2] if node.op_type in ("Conv", "ConvTranspose") and len(node.inputs) > 2 else None
        held = bias.const_value if bias is not None and bias.is_initializer() else None
        if bias is not None and held is not None and bias.name not in parameters and not held.numpy().any():
            node.resize_inputs(2)
            if not bias.uses():
                model.graph.initializers.pop(bias.name or "")


def _set_origins(model: ir.Model) -> None:
    for node in model.graph.all_nodes():
        scopes = [s for s in _strings(node.metadata_props.get("pkg.torch.onnx.name_scopes")) if _NO_SCOPE not in s]
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
        self.outputs = self.outputs or self._described()

    def _opener(self, path: Path) -> Any:
        if path.is_dir():
            return self._open_pretrained
        return self._open_program if path.suffix.lower() in programs.SUFFIXES else self._open_factory

    def _open_pretrained(self, path: str, options: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        found = pretrained.load(Path(path), options["inputs"], options.get("task", ""))
        self._module, self.inputs, tensors = found.module, found.inputs, tuple(found.examples.values())
        if options.get("weights"):
            load_weights(self._module, Path(options["weights"]))
        if found.by_name:
            self._keywords = list(found.examples)
            self._exportable = (found.module, (), found.dynamic, found.examples)
            self._loose = (found.module, (), found.loose, found.examples)
        else:
            self._exportable = (found.module, tensors, {"tensors": tuple(found.loose.values())})
        return tensors, found.dynamic

    def _call(self, tensors: Sequence[Any]) -> Any:
        with self._torch.no_grad():
            if self._keywords:
                return self._module(**dict(zip(self._keywords, tensors, strict=True)))
            return self._module(*tensors)

    def _described(self) -> list[TensorSpec]:
        """Results of a dictionary carry its keys; others are called ``output``, or ``output_0`` … in order."""
        try:
            with _handing_back(self._module):
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
        return self._traced_with(examples(self._module, options["inputs"], given))

    def _traced_with(self, found: Examples) -> tuple[tuple[Any, ...], Any]:
        tensors, dynamic = found.tensors, found.dynamic or {}
        self.inputs = [
            TensorSpec(n, str(t.dtype).removeprefix("torch."), _dims(t, dynamic.get(n))) for n, t in tensors.items()
        ]
        self._keywords = keywords(self._module, list(tensors))
        if self._keywords:
            self._exportable = (self._module, (), found.dynamic, tensors)
            self._loose = (self._module, (), found.loose, tensors) if found.loose else ()
        return tuple(tensors.values()), found.dynamic

    def _open_program(self, path: str, options: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        program = programs.load(Path(path))
        self._module = program.module
        if options.get("weights"):
            load_weights(self._module, Path(options["weights"]))
        if not program.inputs:
            return self._traced_with(examples(self._module, options["inputs"]))
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
        pages.trim()  # what loading and a first run needed
        try:
            model = capture(*self._exportable)
        except UnsupportedOp:
            if not self._loose:
                raise
            model = capture(*self._loose)
        programs.rename(model, self.inputs, self.outputs)
        for value in model.graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and tensor.nbytes > _LARGE_BYTES and tensor.dtype.bitwidth >= 8:
                value.const_value = Pieces(tensor.numpy(), dtype=tensor.dtype, name=tensor.name)
        ir.save(model, target, external_data=Path(target).name + ".data", max_workers=1)
        return None, {}


@contextmanager
def _handing_back(module: Any) -> Iterator[None]:
    """Let large weights go from memory as soon as a run has used them: those of a safetensors file are mapped."""

    def used(part: Any, *_: Any) -> None:
        for weight in part.parameters(recurse=False):
            if weight.nbytes > _LARGE_BYTES:
                pages.reclaim(weight.data_ptr(), weight.nbytes)

    hooks = [part.register_forward_hook(used) for part in module.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


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

"""Read PyTorch: a live module, a factory, a Hugging Face folder, or a checkpoint (weights without a graph)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx_ir as ir

from recast._util import pages
from recast._util.child import Limits, RemoteRunner
from recast.errors import BadRecipe, UnsafeModel
from recast.formats._format import ReadOptions
from recast.formats.torch.checkpoint import read_checkpoint
from recast.graph import IR_VERSION, OPSET
from recast.graph.finding import Finding, attach
from recast.passes import (
    PassOptions,
    clean,
    drop_broadcasts,
    drop_noops,
    drop_repeats,
    fold_constants,
    merge_moves,
    unflatten_dense,
)
from recast.passes.normalise import normalise

_CAPTURE = "recast.formats.torch.capture"
_EXPORT_TIMEOUT_S = 1800.0


def read(path: Path, options: ReadOptions) -> ir.Model:
    """Read a factory reference or a checkpoint; see ``Format.read``.

    Raises:
        UnsafeModel: the file would run code (``.pt2``, TorchScript, ``.py`` without ``--trust``).
        BadRecipe: the request does not fit the source.
    """
    if is_factory(path) or path.is_dir():
        return _read_factory(path, options)
    if path.suffix in (".py", ".pt2"):
        if not options.trust:
            raise UnsafeModel(
                f"reading a {path.suffix} file runs code from it; nothing was executed",
                str(path),
                "pass --trust if it is yours",
            )
        return _read_factory(path, options)
    tensors, left = read_checkpoint(path)
    values = [
        ir.Value(name=n, shape=ir.Shape(t.shape.numpy()), type=ir.TensorType(t.dtype), const_value=t)
        for n, t in tensors.items()
    ]
    graph = ir.Graph([], [], nodes=[], initializers=values, opset_imports={"": OPSET}, name=path.stem)
    model = ir.Model(graph, ir_version=IR_VERSION)
    if left:
        attach(model, [Finding(f"{len(left)} entries that are no weights were left out", ", ".join(left[:10]))])
    return model


def is_factory(path: Path) -> bool:
    """Whether a source is ``package.module:factory`` rather than a file."""
    return ":" in str(path) and not path.exists()


def session(path: Path, options: ReadOptions) -> RemoteRunner:
    """The module in a child process: it runs and exports."""
    settings: dict[str, Any] = {
        "inputs": {k: list(v) for k, v in options.inputs.items()},
        "weights": str(options.weights.resolve()) if options.weights else None,
        "task": options.task,
    }
    return RemoteRunner(_CAPTURE, path, settings, Limits(timeout_s=_EXPORT_TIMEOUT_S))


def _read_factory(path: Path, options: ReadOptions) -> ir.Model:
    with tempfile.TemporaryDirectory(prefix="recast-") as folder, session(path, options) as runner:
        target = Path(folder) / "module.onnx"
        runner.call("export", target=str(target))
        model = ir.load(target)
        for name, value in model.graph.initializers.items():
            held = value.const_value
            if isinstance(held, ir.ExternalTensor):  # a mapped view outlives the folder's entry
                value.const_value = ir.Tensor(held.numpy(), dtype=held.dtype, name=name)
                if held.raw is not None:
                    pages.watch(held.raw)
        return _without_shape_arithmetic(normalise(model, path.name, told=True))


def _without_shape_arithmetic(model: ir.Model) -> ir.Model:
    """PyTorch's exporter spells out ``x.flatten(1)`` as arithmetic on the shape of ``x``; no module wrote that."""
    tidy = (fold_constants, drop_noops, merge_moves, drop_broadcasts, drop_repeats, unflatten_dense)
    for step in (*tidy, fold_constants, clean):
        step.apply(model, PassOptions(keep_tied=True))
    return model


def from_torch(module: Any, example_inputs: Any, dynamic: Any = None) -> ir.Model:
    """Capture a live ``nn.Module`` in this process.

    Args:
        module: the module; eval mode is set for the capture and restored.
        example_inputs: a tensor, a tuple of tensors, or a dictionary by parameter.
        dynamic: ``{"x": {0: "batch"}}``: names of dynamic dimensions by parameter and axis.

    Returns:
        The model in the graph dialect, for ``recast.save``.

    Raises:
        MissingDependency: PyTorch is not installed.
        UnsupportedOp: PyTorch cannot export the module.
        BadRecipe: ``dynamic`` is not of that form.
    """
    from recast._util.optional import need
    from recast.formats.torch import factory
    from recast.formats.torch.capture import capture

    torch = need("torch", "torch")
    tensors = factory.by_parameter(module, example_inputs)
    shapes = None
    if dynamic is not None:
        try:
            dims = {n: torch.export.Dim(n) for axes in dynamic.values() for n in axes.values()}
            shapes = {n: {int(a): dims[d] for a, d in dynamic.get(n, {}).items()} for n in tensors}
        except (AttributeError, ValueError, TypeError) as error:
            raise BadRecipe(
                "dynamic is not {parameter: {axis: name}}", fix='for example {"x": {0: "batch"}}'
            ) from error
    named = factory.keywords(module, list(tensors))
    captured = capture(module, (), shapes, tensors) if named else capture(module, tuple(tensors.values()), shapes)
    return _without_shape_arithmetic(normalise(captured, type(module).__name__, told=True))

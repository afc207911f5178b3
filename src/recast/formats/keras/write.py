"""Write a graph as a Keras Functional model of real layers, with JSON and HDF5 alone: Keras is not imported.

Given: the dialect of docs/reference/graph.md after the ``layout`` pass (image operators channels-last).
Result: ``.keras`` or ``.h5``, loaded by ``keras.models.load_model`` with any backend and its safe mode. Nodes of one
source layer become one Keras layer under the source's name where Keras has such a layer; operators without a layer
become Keras 3 operation nodes (``keras.src.ops``). How constants are stored: ``writing/_context.py``, ``Context.hold``.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats._format import Artifact, WriteOptions
from recast.formats.keras.write_config import model_config
from recast.formats.keras.write_files import write_archive, write_hdf5
from recast.formats.keras.writing import CHANNELS_FIRST, CHANNELS_LAST, Unfit, handlers
from recast.formats.keras.writing._context import Context, Poisoned, keras_dtype, keras_shape
from recast.formats.keras.writing._network import Tensor, ordered, safe_name
from recast.graph import view
from recast.graph.view import is_const
from recast.passes import decompose
from recast.passes.fold_constants import compute

_SHOWN = 12  # problems named in one message


def write(model: ir.Model, path: Path, options: WriteOptions) -> Artifact:
    """Write ``path``; its suffix chooses ``.keras`` or HDF5.

    Raises:
        UnsupportedOp: all operators that Keras cannot express, with their layers and reasons.
    """
    context = build(model)
    layers = ordered(context.net)
    legacy = path.suffix.lower() != ".keras"
    config = model_config(context.net, layers, safe_name(model.graph.name or "model", "model"), legacy)
    if legacy:
        write_hdf5(path, config, layers)
    else:
        write_archive(path, config, layers)
    return Artifact((path,), tuple(context.findings.values()))


def build(model: ir.Model) -> Context:
    """Turn the graph into layers.

    Raises:
        UnsupportedOp: see ``write``.
    """
    nodes = list(model.graph)
    context = Context(nodes)
    known = handlers()
    problems: list[tuple[ir.Node | None, str]] = []
    for value in model.graph.inputs:
        if value.const_value is None:
            try:
                context.bind(value, context.net.input(value.name or "input", keras_shape(value), keras_dtype(value)))
            except Unfit as reason:
                problems.append((None, f"input {value.name}: {reason}"))
                context.bind(value, None)
    context.reserve_names()
    for node in nodes:
        if node in context.claimed or all(context.const(v) is not None for v in node.outputs):
            continue
        try:
            if _constant(context, node):
                continue
            handler = known.get(node.op_type)
            if handler is None or node.domain not in ("", CHANNELS_LAST):
                raise Unfit(decompose.reason(node) or "Keras has no such operator")
            first = node.inputs[0] if node.inputs else None
            if node.domain == "" and node.op_type in CHANNELS_FIRST and first and (view.rank(first) or 0) > 2:
                raise Unfit("it is channels-first: run the layout pass before writing")
            handler(context, node)
        except Poisoned:
            _poison(context, node)
        except Unfit as reason:
            problems.append((node, str(reason)))
            _poison(context, node)
    _outputs(context, model.graph, problems)
    return context


def _constant(context: Context, node: ir.Node) -> bool:
    """Bind the results of a node of constants that only the graph's outputs need (others were folded)."""
    if not node.inputs or not all(v is None or is_const(v) for v in node.inputs):
        return False
    arrays = compute(node)
    for value, array in zip(node.outputs, arrays or (), strict=False):
        context.bind(value, context.held(array, value.name or "constant"))
    return arrays is not None


def _poison(context: Context, node: ir.Node) -> None:
    for value in node.outputs:
        context.bind(value, None)


def _outputs(context: Context, graph: ir.Graph, problems: list[tuple[ir.Node | None, str]]) -> None:
    """Collect the outputs; what could not be written matters only if an output needs it."""
    for value in graph.outputs:
        try:
            tensor = context.tensor(value)
            wanted = keras_dtype(value)
        except Poisoned:
            raise _unsupported(problems) from None
        except Unfit as reason:
            raise _unsupported([*problems, (value.producer(), str(reason))]) from None
        if tensor.dtype != wanted:
            raw = context.raw_op("core.Cast", f"{tensor.call.layer.name}_{wanted}", [tensor], {"dtype": wanted})
            tensor = context.net.call(*raw, [(tensor.shape, wanted)])[0]
        context.net.outputs.append(_leave(context, tensor))


def _leave(context: Context, tensor: Tensor) -> Tensor:
    """A model's output must come from a layer: an input that is also an output goes through Identity."""
    if tensor.call.layer.class_name != "InputLayer" and all(o.call is not tensor.call for o in context.net.outputs):
        return tensor
    raw = context.raw_op("numpy.Copy", f"{tensor.call.layer.name}_output", [tensor], {})
    return context.net.call(*raw, [(tensor.shape, tensor.dtype)])[0]


def _unsupported(problems: list[tuple[ir.Node | None, str]]) -> UnsupportedOp:
    told = [
        reason if node is None else f"{node.op_type} (layer {view.layer_of(node)}): {reason}"
        for node, reason in problems
    ]
    more = f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    kinds = sorted({node.op_type for node, _ in problems if node is not None})
    return UnsupportedOp(
        f"Keras cannot express {len(told)} node(s) of the model: {', '.join(kinds) or 'its inputs'}",
        "; ".join(told[:_SHOWN]) + more,
        "write another format (ONNX, PyTorch), or replace these operators in the source model",
    )

"""Read ``.tflite`` into the graph dialect. Nothing is executed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recast._util.bounded import as_bad_model
from recast.errors import RecastError, UnsupportedOp, unread
from recast.formats._format import ReadOptions
from recast.formats.tflite.read_file import File, Tensor, load
from recast.graph.finding import attach

if TYPE_CHECKING:
    import onnx_ir as ir


def read(path: Path, options: ReadOptions | None = None) -> ir.Model:
    """Read a file.

    Returns:
        The model; its attached findings say what could not be kept exactly.

    Raises:
        BadModel, TooLarge: the file is damaged.
        UnsupportedOp: all operators that cannot be read.
    """
    try:
        return _read(load(path), options or ReadOptions())
    except RecastError:
        raise
    except Exception as error:  # parsers of damaged data fail in many ways; each becomes one clear error
        raise as_bad_model(error, path.name) from error


def _read(file: File, options: ReadOptions) -> ir.Model:
    from recast.formats.tflite.read_scope import Reading, Scope, data_type
    from recast.graph.build import Builder

    reserved = set(file.output_names) - set(file.input_names)
    names = set(reserved)
    builder = Builder(file.subgraphs[0].name or "main", names)
    shared = Reading(file, names)
    graph = file.subgraphs[0]
    scope = Scope(shared, graph, builder)
    for name, index in zip(file.input_names, graph.inputs, strict=True):
        tensor = graph.tensors[index]
        dtype = data_type(tensor.dtype, f"input '{name}' of {file.where}")
        scope.bind(index, builder.input(name, dtype, _input_shape(name, tensor, options)))
    try:
        scope.run()
    except RecastError as error:
        if shared.unsupported and not isinstance(error, UnsupportedOp):
            raise unread(shared.unsupported, shared.file.where) from error
        raise
    if shared.unsupported:
        raise unread(shared.unsupported, shared.file.where)
    for name, index in zip(file.output_names, graph.outputs, strict=True):
        value = scope.raw_value(index)
        names.discard(name)
        builder.output(value, name)
    builder.drop_unused()
    model = builder.model()
    attach(model, shared.findings)
    return model


def _input_shape(name: str, tensor: Tensor, options: ReadOptions) -> list[int | str | None]:
    if name in options.inputs:
        return list(options.inputs[name])
    return [d if d >= 0 else ("batch" if axis == 0 else f"{name}_{axis}") for axis, d in enumerate(tensor.signature)]

"""Read a SavedModel or a frozen graph into the graph dialect. Nothing is executed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recast._util.bounded import as_bad_model
from recast.errors import BadModel, BadShape, RecastError, UnsupportedOp, unread
from recast.formats._format import ReadOptions
from recast.formats.savedmodel.source import End, Source, load, reachable, refuse_changes
from recast.graph.finding import attach

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.formats.savedmodel.scope import Reading
    from recast.graph.build import Builder


def read(path: Path, options: ReadOptions | None = None) -> ir.Model:
    """Read a SavedModel's folder, its ``saved_model.pb``, or a frozen ``.pb``.

    Returns:
        The model; inputs and outputs are called as in the signature (frozen graphs: as the nodes).

    Raises:
        BadModel, BadShape, TooLarge, UnsafeModel: the file is damaged.
        UnsupportedOp, UnsupportedType: all operators that cannot be read.
    """
    try:
        return _read(load(path), options or ReadOptions())
    except RecastError as error:
        error.where = error.where or path.name
        raise
    except Exception as error:  # parsers of damaged data fail in many ways; each becomes one clear error
        raise as_bad_model(error, path.name) from error


def _read(source: Source, options: ReadOptions) -> ir.Model:
    from recast.formats.savedmodel.names import names_of
    from recast.formats.savedmodel.scope import Reading, Scope
    from recast.graph.build import Builder, name_dims

    refuse_changes(source)
    reserved = {e.name for e in source.outputs} - {e.name for e in source.inputs}
    names = set(reserved)
    builder = Builder("main", names)
    needed = reachable(source.program, [e.tensor.split(":", 1)[0] for e in source.outputs])
    shared = Reading(source, names, names_of(source.program, needed), dict.fromkeys(source.findings))
    scope = Scope(shared, source.program.main, builder, "", ())
    for end in source.inputs:
        scope.bind(end.tensor, _input(shared, builder, end, options))
    try:
        results = [scope.thing(end.tensor) for end in source.outputs]
    except RecastError as error:
        if shared.unsupported and not isinstance(error, UnsupportedOp):
            raise unread(shared.unsupported, shared.source.where) from error
        raise
    if shared.unsupported:
        raise unread(shared.unsupported, shared.source.where)
    _outputs(shared, builder, results)
    builder.drop_unused()
    model = builder.model()
    name_dims(model)
    attach(model, shared.findings)
    return model


def _input(shared: Reading, builder: Builder, end: End, options: ReadOptions) -> ir.Value:
    from recast.formats.savedmodel.scope import data_type

    given = options.inputs.get(end.name)
    told = end.shape
    where = f"input '{end.name[:200]}' of {shared.source.where}"
    if told is None and given is None:
        raise BadShape(
            "nothing says what shape this input has", where, f"give it: --input {end.name[:200]}=1,224,224,3"
        )
    if given is not None and told is not None and len(given) != len(told):
        raise BadShape(f"{len(given)} dimensions are given, the file says {len(told)}", where, "give all of them")
    shape: list[int | str | None] = list(given or [])
    if given is None:
        shape = [
            d if d is not None else ("batch" if axis == 0 else f"{end.name}_{axis}")
            for axis, d in enumerate(told or [])
        ]
    value = builder.input(end.name, data_type(end.dtype, where), shape)
    for axis, dim in enumerate(shape):
        if isinstance(dim, str):
            shared.symbols.setdefault(dim, (value, axis))
    return value


def _outputs(shared: Reading, builder: Builder, results: Sequence[object]) -> None:
    import onnx_ir as ir

    from recast.formats.savedmodel import constants
    from recast.formats.savedmodel.scope import Held

    for end, thing in zip(shared.source.outputs, results, strict=True):
        if isinstance(thing, Held):
            thing = constants.value(shared, builder, thing)
        if not isinstance(thing, ir.Value):
            raise BadModel(f"output '{end.name[:200]}' is no tensor", shared.source.where, "give it dense tensors")
        if any(v.name == end.name for v in builder.inputs):
            builder.output(builder.op("Identity", [thing]))
            continue
        shared.names.discard(end.name)
        builder.output(thing, end.name)

"""Read OpenVINO IR into the graph dialect. Nothing is executed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recast._util.bounded import as_bad_model
from recast.errors import BadModel, RecastError, UnsupportedType, unread
from recast.formats._format import ReadOptions
from recast.formats.openvino.call import Call
from recast.formats.openvino.ir_file import File, Layer, load
from recast.formats.openvino.names import TYPES, distinct, first_name
from recast.formats.openvino.reading import handlers

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.graph.build import Builder

_Values = dict[tuple[str, int], "ir.Value"]


def read(path: Path, options: ReadOptions) -> ir.Model:
    """Read a file; a dynamic dimension is called after its input.

    Raises:
        BadModel, TooLarge, UnsafeModel: the file is damaged.
        UnsupportedOp, UnsupportedType: all operators that cannot be read.
    """
    try:
        return _read(load(path), options)
    except RecastError:
        raise
    except Exception as error:  # parsers of damaged data fail in many ways; each becomes one clear error
        raise as_bad_model(error, path.name) from error


def _read(file: File, options: ReadOptions) -> ir.Model:
    from recast.graph.build import Builder

    _check_known(file)
    results = [layer for layer in file.layers.values() if layer.kind == "Result"]
    parameters = [layer for layer in file.layers.values() if layer.kind == "Parameter"]
    inputs = distinct([first_name(p.outputs[0].names) or p.name for p in parameters])
    outputs = distinct([_result_name(file, layer) for layer in results])
    names = set(outputs) - set(inputs)
    builder = Builder(file.name, names)
    values: _Values = {}
    for name, layer in zip(inputs, parameters, strict=True):
        values[(layer.id, 0)] = _input(builder, name, layer, options, file.where)
    for layer in _ordered(file):
        _convert(file, layer, builder, values)
    for name, layer in zip(outputs, results, strict=True):
        names.discard(name)
        builder.output(values[layer.sources[0]], name)
    for name, value in list(builder.initializers.items()):
        if not value.uses() and value not in builder.outputs:
            del builder.initializers[name]
    return builder.model()


def _result_name(file: File, layer: Layer) -> str:
    source, place = layer.sources[0]
    producer = file.layers[source]
    return first_name(producer.outputs[place].names) or producer.name


def _check_known(file: File) -> None:
    """All operators that are not read, in one error."""
    known = handlers().keys() | {"Parameter", "Result"}
    unknown: dict[str, list[str]] = {}
    for layer in file.layers.values():
        if layer.kind not in known or not layer.opset.startswith("opset"):
            unknown.setdefault(f"{layer.kind[:60]} ({layer.opset[:20] or 'no opset'})", []).append(layer.name)
    if unknown:
        raise unread(unknown, file.where, "convert the model that this IR was made from")


def _input(builder: Builder, name: str, layer: Layer, options: ReadOptions, where: str) -> ir.Value:
    import numpy as np
    import onnx_ir as ir

    kind = layer.data.get("element_type", "").lower()
    if kind not in TYPES:
        raise UnsupportedType(f"input '{name}' is of type {kind[:40]}", where, "inputs are plain numbers")
    dtype = ir.DataType.BFLOAT16 if kind == "bf16" else ir.DataType.from_numpy(np.dtype(TYPES[kind]))
    shape: list[int | str | None] = [d if d >= 0 else f"{name}.{axis}" for axis, d in enumerate(layer.outputs[0].dims)]
    if layer.data.get("shape", "").strip() == "...":
        raise BadModel(f"input '{name}' has no fixed number of dimensions", where, "export it with a known rank")
    return builder.input(name, dtype, list(options.inputs.get(name, shape)))


def _ordered(file: File) -> list[Layer]:
    """Layers between Parameters and Results, each after its sources.

    Raises:
        BadModel: there is a cycle.
    """
    waiting = {i: len(layer.sources) for i, layer in file.layers.items()}
    users: dict[str, list[str]] = {}
    for layer in file.layers.values():
        for source, _ in layer.sources:
            users.setdefault(source, []).append(layer.id)
    ready = [i for i, count in waiting.items() if not count]
    for at in ready:  # grows while it is walked
        for user in users.get(at, ()):
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)
    if len(ready) != len(file.layers):
        raise BadModel("the layers form a cycle", file.where, "export the model again")
    return [file.layers[i] for i in ready if file.layers[i].kind not in ("Parameter", "Result")]


def _convert(file: File, layer: Layer, builder: Builder, values: _Values) -> None:
    call = Call(file, layer, builder, values)
    if layer.kind == "Const":
        call.out(builder.weight(layer.name or "const", call.array()))
    else:
        with builder.layer(layer.name, layer.kind):
            handlers()[layer.kind](call)
    call.check_attributes()
    _check_shape(call)


def _check_shape(call: Call) -> None:
    """What the file declares of a result and what the graph infers do not contradict each other.

    Raises:
        BadModel: they do.
    """
    for place, port in enumerate(call.layer.outputs):
        value = call.values.get((call.layer.id, place))
        if value is None:
            raise call.cannot(f"output {place}")
        if value.shape is None:
            continue
        found = list(value.shape)
        wrong = [d for d, f in zip(port.dims, found, strict=False) if d >= 0 and isinstance(f, int) and d != f]
        if wrong or len(port.dims) != len(found):
            raise call.bad(f"the file declares the shape {list(port.dims)}, its operators give {found}")

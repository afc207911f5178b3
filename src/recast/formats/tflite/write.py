"""The graph dialect → a ``.tflite`` file that runs in stock LiteRT: builtins only, nothing recomputed."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats._format import Artifact, WriteOptions
from recast.formats.tflite import schema, write_sparse
from recast.formats.tflite.flat_write import Blob, write_model
from recast.formats.tflite.write_prune import prune, used_buffers
from recast.formats.tflite.write_runtime import minimum_runtime
from recast.formats.tflite.writing import IMAGE, Missing, Refused, handlers
from recast.formats.tflite.writing.emitter import Emitter, Operator, Tensor, dims_of, quant_of_value, type_number
from recast.graph import view
from recast.graph.finding import Finding
from recast.passes.decompose import reason

_SHOWN = 20  # problems listed in one error


def write(model: ir.Model, path: Path, options: WriteOptions) -> Artifact:
    """Write a graph that has been through the format's passes.

    Raises:
        UnsupportedOp: what TFLite cannot express, all of it in one error.
    """
    emitter, inputs, outputs = emit(model.graph)
    if options.sparse:
        write_sparse.pack(emitter, outputs)
    if any(v.dtype == ir.DataType.FLOAT16 for n in model.graph for v in n.outputs):
        emitter.findings.append(Finding("float16 is computed in float32: LiteRT has no float16 arithmetic on CPUs"))
    write_model(path, _assemble(model.graph, emitter, inputs, outputs))
    return Artifact((path,), tuple(emitter.findings))


def emit(graph: ir.Graph) -> tuple[Emitter, list[int], list[int]]:
    """All operators of a graph as builtins; its inputs and outputs as tensor numbers.

    Raises:
        UnsupportedOp: what TFLite cannot express.
    """
    emitter = Emitter()
    problems: list[tuple[str, str, str]] = []
    missing: list[tuple[str, str, str]] = []  # what follows from other problems
    inputs, outputs = [], []
    for value in graph.inputs:
        try:
            inputs.append(_input(emitter, value))
        except Refused as reason:
            problems.append((value.name or "", "input", str(reason)))
    known = handlers()
    for node in graph:
        if node in emitter.done:
            continue
        handler = known.get((node.domain, node.op_type))
        try:
            if handler is None:
                raise Refused(_unknown(node))
            handler(emitter, node)
        except Missing as reason:
            missing.append((view.layer_of(node), _origin(node), str(reason)))
        except Refused as reason:
            problems.append((view.layer_of(node), _origin(node), str(reason)))
    problems = problems or missing
    if not problems:
        for value in graph.outputs:
            try:
                outputs.append(_output(emitter, value))
            except Refused as reason:
                problems.append((value.name or "", "output", str(reason)))
    if problems:
        raise _refusal(problems)
    return emitter, inputs, outputs


def _input(emitter: Emitter, value: ir.Value) -> int:
    """A graph input's tensor; half precision is cast at the border."""
    if value.dtype != ir.DataType.FLOAT16:
        return emitter.put(value, quant_of_value(value))
    index = emitter.tensor(value.name or "", "FLOAT16", dims_of(value))
    options = {"in_data_type": type_number("FLOAT16"), "out_data_type": type_number("FLOAT32")}
    emitter.later(value, lambda: emitter.then("CAST", [index], None, ("CastOptions", options), "FLOAT32"))
    return index


def _output(emitter: Emitter, value: ir.Value) -> int:
    """A graph output's tensor."""
    index = emitter.take(value)
    if value.dtype != ir.DataType.FLOAT16:
        return index
    options = {"in_data_type": type_number("FLOAT32"), "out_data_type": type_number("FLOAT16")}
    return emitter.then("CAST", [index], None, ("CastOptions", options), "FLOAT16")


def _unknown(node: ir.Node) -> str:
    if not node.domain and (IMAGE, node.op_type) in handlers():
        return "it is channels-first; run the 'layout' pass first"
    return reason(node) or "TFLite has no such builtin and Recast no decomposition"


def _origin(node: ir.Node) -> str:
    return node.op_type if not node.domain else f"{node.op_type} (channels-last)"


def _refusal(problems: Sequence[tuple[str, str, str]]) -> UnsupportedOp:
    seen = list(dict.fromkeys(problems))
    count = len(seen)
    where = "; ".join(f"{layer}: {op}: {why}" for layer, op, why in seen[:_SHOWN])
    more = f"; and {count - _SHOWN} more" if count > _SHOWN else ""
    return UnsupportedOp(
        f"{count} operator{'s' if count > 1 else ''} cannot be expressed in TFLite: "
        + ", ".join(dict.fromkeys(op for _, op, _ in seen)),
        where + more,
        "change these layers, or choose another target",
    )


def _assemble(graph: ir.Graph, emitter: Emitter, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    pruned = [(e, *prune(e, i, o)) for e, i, o in ((emitter, inputs, outputs), *emitter.subgraphs)]
    _, inputs, outputs = pruned[0]
    codes: dict[tuple[str, int], int] = {}
    blobs = used_buffers([e for e, _, _ in pruned])
    subgraphs = [
        {
            "tensors": [_tensor(t) for t in e.tensors],
            "inputs": i,
            "outputs": o,
            "operators": [_operator(op, codes.setdefault((op.builtin, op.version), len(codes))) for op in e.operators],
            "name": f"{graph.name or 'main'}{f'/{number}' if number else ''}",
        }
        for number, (e, i, o) in enumerate(pruned)
    ]
    runtime = minimum_runtime(codes).encode().ljust(16, b"\0")
    blobs.append(Blob(len(runtime), lambda: runtime))
    signature = {
        "inputs": [{"name": v.name, "tensor_index": i} for v, i in zip(graph.inputs, inputs, strict=True)],
        "outputs": [{"name": v.name, "tensor_index": i} for v, i in zip(graph.outputs, outputs, strict=True)],
        "signature_key": "serving_default",
    }
    return {
        "version": schema.VERSION,
        "operator_codes": [_operator_code(name, number) for name, number in codes],
        "subgraphs": subgraphs,
        "description": "recast",
        "buffers": blobs,
        "metadata": [{"name": "min_runtime_version", "buffer": len(blobs) - 1}],
        "signature_defs": [signature],
    }


def _operator_code(name: str, number: int) -> dict[str, Any]:
    code = schema.number("BuiltinOperator", name)
    return {
        "deprecated_builtin_code": min(code, schema.PLACEHOLDER_CODE),
        "builtin_code": code,
        "version": number,
    }


def _operator(op: Operator, code: int) -> dict[str, Any]:
    union = op.options and (
        "builtin_options" if op.options[0] in schema.names("BuiltinOptions") else "builtin_options2"
    )
    return {
        "opcode_index": code,
        "inputs": op.inputs,
        "outputs": op.outputs,
        **({union: op.options} if union else {}),
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    dynamic = -1 in tensor.shape
    made: dict[str, Any] = {
        "shape": [1 if d < 0 else d for d in tensor.shape],
        "type": schema.number("TensorType", tensor.type),
        "buffer": tensor.buffer,
        "name": tensor.name,
        "has_rank": True,
        "is_variable": tensor.variable,
        "sparsity": tensor.sparsity,
        "shape_signature": tensor.shape if dynamic else None,
    }
    if tensor.quant is not None:
        made["quantization"] = {
            "scale": _floats(tensor.quant.scale),
            "zero_point": tensor.quant.zero,
            "quantized_dimension": tensor.quant.axis,
        }
    return made


def _floats(values: tuple[float, ...]) -> list[float]:
    return list(struct.unpack(f"<{len(values)}f", struct.pack(f"<{len(values)}f", *values)))

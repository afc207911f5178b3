"""Control flow, sequences and optional values: Python's own."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.torch.writing import Refuse, writes
from recast.formats.torch.writing._emitter import Emitter
from recast.graph import view


def _finish(e: Emitter, graph: ir.Graph, names: list[str]) -> None:
    """Run a sub-graph here and assign its outputs."""
    e.run(graph)
    results = [e.tensor(v) for v in graph.outputs]
    if results:
        e.emit(f"{', '.join(names)} = {', '.join(results)}")


@writes("If")
def if_(e: Emitter, node: ir.Node) -> None:
    condition = e.x(node)
    names = [e.new(v) for v in node.outputs]
    with e.block(f"if {condition}:"):
        _finish(e, node.attributes["then_branch"].as_graph(), names)
    with e.block("else:"):
        _finish(e, node.attributes["else_branch"].as_graph(), names)


@writes("Loop")
def loop(e: Emitter, node: ir.Node) -> None:
    body = node.attributes["body"].as_graph()
    count = f"int({e.x(node)})" if e.value(node, 0) is not None else None
    condition = e.x(node, 1) if e.value(node, 1) is not None else "True"
    carried = [e.temporary(v.name or "state") for v in body.inputs[2:]]
    going, step = e.temporary("going"), e.temporary("step")
    collected = [e.temporary("collected") for _ in body.outputs[1 + len(carried) :]]
    for name, value in zip(carried, node.inputs[2:], strict=True):
        e.emit(f"{name} = {'None' if value is None else e.tensor(value)}")
    for name in collected:
        e.emit(f"{name} = []")
    e.emit(f"{going} = {condition}")
    e.emit(f"{step} = 0")
    head = f"while {going}:" if count is None else f"while {going} and {step} < {count}:"
    with e.block(head):
        e.alias(body.inputs[0], f"torch.tensor({step})")
        e.alias(body.inputs[1], "torch.tensor(True)")
        for name, value in zip(carried, body.inputs[2:], strict=True):
            e.alias(value, name)
        rows = [e.temporary("row") for _ in collected]
        _finish(e, body, [going, *carried, *rows])
        for name, row in zip(collected, rows, strict=True):
            e.emit(f"{name}.append({row})")
        e.emit(f"{step} += 1")
    for value, name in zip(node.outputs, carried, strict=False):
        e.alias(value, name)
    for value, name in zip(node.outputs[len(carried) :], collected, strict=True):
        if value.name and (value.uses() or value.is_graph_output()):
            e.emit(f"{e.new(value)} = torch.stack({name})")


@writes("Scan")
def scan(e: Emitter, node: ir.Node) -> None:
    body = node.attributes["body"].as_graph()
    scanned = view.attr(node, "num_scan_inputs")
    states = len(node.inputs) - scanned
    in_axes = view.attr(node, "scan_input_axes") or [0] * scanned
    in_back = view.attr(node, "scan_input_directions") or [0] * scanned
    produced = len(body.outputs) - states
    out_axes = view.attr(node, "scan_output_axes") or [0] * produced
    out_back = view.attr(node, "scan_output_directions") or [0] * produced
    carried = [e.temporary(v.name or "state") for v in body.inputs[:states]]
    collected = [e.temporary("collected") for _ in range(produced)]
    for i, name in enumerate(carried):
        e.emit(f"{name} = {e.x(node, i)}")
    for name in collected:
        e.emit(f"{name} = []")
    step = e.temporary("step")
    sequences = [e.x(node, states + i) for i in range(scanned)]
    with e.block(f"for {step} in range({sequences[0]}.shape[{in_axes[0]}]):"):
        for name, value in zip(carried, body.inputs, strict=False):
            e.alias(value, name)
        for i, value in enumerate(body.inputs[states:]):
            place = f"-1 - {step}" if in_back[i] else step
            e.emit(f"{e.new(value)} = {sequences[i]}.select({in_axes[i]}, {place})")
        rows = [e.temporary("row") for _ in collected]
        _finish(e, body, [*carried, *rows])
        for name, row in zip(collected, rows, strict=True):
            e.emit(f"{name}.append({row})")
    for value, name in zip(node.outputs, carried, strict=False):
        e.alias(value, name)
    for i, value in enumerate(node.outputs[states:]):
        order = f"{collected[i]}[::-1]" if out_back[i] else collected[i]
        e.emit(f"{e.new(value)} = torch.stack({order}, {out_axes[i]})")


@writes("SequenceConstruct")
def sequence_construct(e: Emitter, node: ir.Node) -> str:
    return f"[{', '.join(e.xs(node))}]"


@writes("SequenceEmpty")
def sequence_empty(e: Emitter, node: ir.Node) -> str:
    return "[]"


@writes("SequenceAt")
def sequence_at(e: Emitter, node: ir.Node) -> str:
    return f"{e.x(node)}[int({e.x(node, 1)})]"


@writes("SequenceLength")
def sequence_length(e: Emitter, node: ir.Node) -> str:
    return f"torch.tensor(len({e.x(node)}))"


@writes("SequenceInsert")
def sequence_insert(e: Emitter, node: ir.Node) -> str:
    x = e.x(node)
    if e.value(node, 2) is None:
        return f"[*{x}, {e.x(node, 1)}]"
    place = f"int({e.x(node, 2)})"
    return f"[*{x}[:{place}], {e.x(node, 1)}, *{x}[{place}:]]"


@writes("SequenceErase")
def sequence_erase(e: Emitter, node: ir.Node) -> str:
    x = e.x(node)
    place = f"int({e.x(node, 1)}) % len({x})" if e.value(node, 1) is not None else f"len({x}) - 1"
    return f"[v for i, v in enumerate({x}) if i != {place}]"


@writes("ConcatFromSequence")
def concat_from_sequence(e: Emitter, node: ir.Node) -> str:
    call = "torch.stack" if view.attr(node, "new_axis", 0) else "torch.cat"
    return f"{call}({e.x(node)}, {view.attr(node, 'axis')})"


@writes("SplitToSequence")
def split_to_sequence(e: Emitter, node: ir.Node) -> str:
    axis, x = view.attr(node, "axis", 0), e.x(node)
    if e.value(node, 1) is None:
        drop = "" if view.attr(node, "keepdims", 1) else f".squeeze({axis})"
        return f"[v{drop} for v in {x}.split(1, {axis})]"
    return f"list({x}.split({e.x(node, 1)}.tolist(), {axis}))"


@writes("SequenceMap")
def sequence_map(e: Emitter, node: ir.Node) -> None:
    body = node.attributes["body"].as_graph()
    collected = [e.temporary("collected") for _ in body.outputs]
    for name in collected:
        e.emit(f"{name} = []")
    step = e.temporary("step")
    xs = e.xs(node)
    with e.block(f"for {step} in range(len({xs[0]})):"):
        for value, source, x in zip(body.inputs, node.inputs, xs, strict=True):
            sequence = source is not None and isinstance(source.type, ir.SequenceType)
            e.alias(value, f"{x}[{step}]" if sequence else x)
        rows = [e.temporary("row") for _ in collected]
        _finish(e, body, rows)
        for name, row in zip(collected, rows, strict=True):
            e.emit(f"{name}.append({row})")
    for value, name in zip(node.outputs, collected, strict=True):
        e.alias(value, name)


@writes("Optional")
def optional(e: Emitter, node: ir.Node) -> str:
    return e.x(node) if e.value(node, 0) is not None else "None"


@writes("OptionalHasElement")
def optional_has_element(e: Emitter, node: ir.Node) -> str:
    return f"torch.tensor({e.optional(node, 0)} is not None)"


@writes("OptionalGetElement")
def optional_get_element(e: Emitter, node: ir.Node) -> None:
    e.alias(node.outputs[0], e.x(node))


@writes("ImageDecoder", "StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch")
def strings(e: Emitter, node: ir.Node) -> str:
    raise Refuse("PyTorch has no strings or encoded images")

"""What is read from disk: the graph, its inputs and outputs by name, and its variables."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from recast._util.bounded import open_bytes
from recast._util.wire import Message
from recast.errors import BadModel, UnsupportedOp, UnsupportedType
from recast.formats.savedmodel import bundle, schema
from recast.formats.savedmodel.bundle import Bundle
from recast.formats.savedmodel.graph_def import Body, Node, Program, decoded, program
from recast.formats.savedmodel.tensors import DAMAGED, dims
from recast.graph.finding import Finding

SAVED_MODEL = "saved_model.pb"
_INTERNAL = ("__saved_model_init_op", "__saved_model_train_op")
_DEFAULT = "serving_default"
_NO_OUTPUT = frozenset(
    {"Const", "NoOp", "Assert", "Placeholder", "PlaceholderV2", "SaveV2", "RestoreV2", "VarHandleOp"}
)


@dataclass(frozen=True)
class End:
    """A named input or output: the tensor that it is, its type and its shape if the file says them."""

    name: str
    tensor: str
    dtype: int
    shape: list[int | None] | None


@dataclass
class Source:
    """A file taken apart. ``signature`` and ``tags`` are empty for a frozen graph."""

    where: str
    program: Program
    inputs: list[End]
    outputs: list[End]
    variables: Bundle | None = None
    restore_op: str = ""
    signature: str = ""
    tags: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)


def load(path: Path) -> Source:
    """Take a SavedModel's folder (or its ``saved_model.pb``) or a frozen ``.pb`` apart.

    Raises:
        BadModel, TooLarge, UnsupportedOp, UnsupportedType: the file is damaged, or says nothing that can be read.
    """
    folder = folder_of(path)
    return _saved_model(folder) if folder is not None else _frozen(path)


def folder_of(path: Path) -> Path | None:
    """The SavedModel's folder, or None for a frozen graph."""
    if path.is_dir():
        return path
    return path.parent if path.name == SAVED_MODEL else None


def _saved_model(folder: Path) -> Source:
    file = folder / SAVED_MODEL
    message = decoded("SavedModel", open_bytes(file), file.name)
    graphs = message.get("meta_graphs", [])
    if not graphs:
        raise BadModel("the file holds no graph", str(file), DAMAGED)
    chosen = next((g for g in graphs if g.get("info", {}).get("tags") == ["serve"]), None)
    chosen = chosen or next((g for g in graphs if "serve" in g.get("info", {}).get("tags", ())), graphs[0])
    tags = tuple(chosen.get("info", {}).get("tags", ()))
    where = f"{folder.name}/{SAVED_MODEL}"
    source = Source(where, program(chosen.get("graph", {}), where), [], [], tags=tags)
    if len(graphs) > 1:
        source.findings.append(Finding(f"one of {len(graphs)} graphs is read, the one tagged {' '.join(tags) or '-'}"))
    _choose_signature(source, chosen)
    source.restore_op = chosen.get("saver", {}).get("restore_op", "")
    if (folder / "variables" / "variables.index").exists():
        source.variables = bundle.load(folder / "variables")
    return source


def _choose_signature(source: Source, graph: Message) -> None:
    found = {e.get("key", ""): e.get("value", {}) for e in graph.get("signatures", ())}
    names = [n for n, s in found.items() if n not in _INTERNAL and s.get("outputs")]
    if not names:
        raise BadModel(
            "the SavedModel has no signature, so nothing says what its inputs and outputs are",
            source.where,
            "export it with one: tf.saved_model.save(model, path, signatures=…) or model.export(path)",
        )
    name = _DEFAULT if _DEFAULT in names else sorted(names)[0]
    others = sorted(set(names) - {name})
    if others:
        source.findings.append(Finding(f"the signature '{name}' is read", f"others: {', '.join(others)}"))
    source.signature = name
    chosen = found[name]
    source.inputs = [_end(e, source.where) for e in sorted(chosen.get("inputs", ()), key=_order)]
    source.outputs = [_end(e, source.where) for e in sorted(chosen.get("outputs", ()), key=_order)]


def _order(entry: Message) -> list[tuple[int, int, str]]:
    """By name; numbers in it count as numbers: a map has no order of its own."""
    parts = re.split(r"(\d{1,9})", entry.get("key", ""))
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]


def _end(entry: Message, where: str) -> End:
    name, info = entry.get("key", ""), entry.get("value", {})
    if "sparse" in info or "composite" in info or not info.get("name"):
        raise UnsupportedType(
            f"'{name}' of the signature is a sparse or composite tensor", where, "give it dense tensors"
        )
    return End(name, info["name"], schema.plain(int(info.get("dtype", 0))), dims(info.get("shape", {"unknown": True})))


def _frozen(path: Path) -> Source:
    where = path.name
    message = decoded("Graph", open_bytes(path), where)
    made = program(message, where)
    if not made.main.nodes:
        raise BadModel("the graph has no nodes", where, DAMAGED)
    source = Source(where, made, [], [])
    main = made.main
    waited_for = {c for n in main.nodes.values() for c in n.control}
    sinks = [
        n
        for n in main.nodes.values()
        if n.name not in main.users and n.name not in waited_for and n.op not in _NO_OUTPUT and not _side(n, main)
    ]
    if not sinks:
        raise BadModel("the graph computes nothing", where, "give the frozen graph, not a training graph")
    source.outputs = [End(n.name, f"{n.name}:0", 0, None) for n in sinks]
    needed = reachable(made, [n.name for n in sinks])
    for node in main.nodes.values():
        if node.op in ("Placeholder", "PlaceholderV2") and node.name in needed:
            source.inputs.append(_placeholder(node, main))
    return source


def _side(node: Node, body: Body) -> bool:
    """Whether a node only marks one side of a TensorFlow 1 condition."""
    before = body.nodes.get(node.data[0].split(":", 1)[0]) if node.data else None
    return node.op == "Identity" and before is not None and before.op in ("Switch", "RefSwitch")


def _placeholder(node: Node, body: Body) -> End:
    shape = node.attr("shape")
    known = dims(shape) if isinstance(shape, dict) else None
    number = schema.plain(int(node.attr("dtype", 0)))
    if known is not None and not known and _written_before_shapes(node, body):
        known = None
    return End(node.name, f"{node.name}:0", number, known)


def _written_before_shapes(node: Node, body: Body) -> bool:
    """Old files wrote an empty shape for an unknown one; then something takes the input as an image or matrix."""
    ranked = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BiasAdd", "Reshape", "Conv3D")
    return any(user.op in ranked and place == 0 for user, place in body.users.get(node.name, ()))


def reachable(made: Program, names: list[str], control: bool = False) -> set[str]:
    """The nodes of the main graph that some nodes need, with what must run before them if ``control``.

    Raises:
        UnsupportedOp: never; unknown names are met again when they are evaluated.
    """
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        node = made.main.nodes.get(name)
        if name in found or node is None:
            continue
        found.add(name)
        waiting += [i.split(":", 1)[0] for i in node.data]
        if control:
            waiting += node.control
    return found


def refuse_changes(source: Source) -> None:
    """A graph that changes its variables while it runs is no function of its inputs.

    Raises:
        UnsupportedOp: the outputs depend on such nodes.
    """
    needed = reachable(source.program, [e.tensor.split(":", 1)[0] for e in source.outputs], control=True)
    changing = [n for n in needed if changes(source.program.main.nodes[n].op)]
    if changing:
        raise UnsupportedOp(
            f"{len(changing)} nodes change variables while the model runs: {', '.join(sorted(changing)[:8])}",
            source.where,
            "export the model for inference",
        )


def changes(op: str) -> bool:
    """Whether an operator writes a variable."""
    return op.startswith(("Assign", "ResourceScatter", "ScatterUpdate", "ScatterAdd", "ResourceApply", "Apply"))

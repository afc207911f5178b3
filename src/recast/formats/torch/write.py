"""Graph → PyTorch files: source with safetensors, a state dict, or an exported program."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from recast.errors import UnsupportedOp, UnsupportedType
from recast.formats._format import Artifact, WriteOptions
from recast.formats.torch.trust import remember, sha256
from recast.formats.torch.write_state import Entry, write_pt, write_safetensors
from recast.formats.torch.writing._source import generate
from recast.formats.torch.writing._types import TYPES
from recast.formats.torch.writing.indexing import most_boxes
from recast.graph.view import layer_of

_MOST_BOXES = 512  # of a class: each is a turn that an exported program writes out


def write(model: ir.Model, path: Path, options: WriteOptions) -> Artifact:
    """Write ``path`` (``.py``, ``.pt``, ``.pth`` or ``.pt2``) and its companions beside it.

    Raises:
        UnsupportedOp, UnsupportedType: what PyTorch cannot express.
        MissingDependency: ``.pt2`` is asked for and PyTorch is not installed.
    """
    suffix = path.suffix.lower()
    script = path.with_suffix(".py")
    if suffix in (".pt", ".pth") and not len(model.graph):
        write_pt(path, _bare(model))
        return Artifact((path,))
    if suffix in (".pt", ".pth"):
        source = generate(model, suffix)
        write_pt(path, source.entries)
        _write_script(script, source.text)
        return Artifact((path, script))
    if suffix == ".pt2":
        _check_exportable(model)
    source = generate(model)
    weights = path.with_suffix(".safetensors")
    write_safetensors(weights, source.entries)
    _write_script(script, source.text)
    if suffix != ".pt2":
        return Artifact((script, weights))
    from recast._util.child import RemoteRunner

    with RemoteRunner("recast.formats.torch.run", script, {"sha256": [sha256(script)]}) as runner:
        runner.call("export", target=str(path))
    remember(path)
    for step in (script, weights):  # the program holds them
        step.unlink()
    return Artifact((path,))


def write_trainable(model: ir.Model, path: Path) -> tuple[Path, tuple[Entry, ...]]:
    """Write ``path`` (``.py``) and its weights for training: the file, and where each tensor comes from."""
    source = generate(model)
    write_safetensors(path.with_suffix(".safetensors"), source.entries)
    _write_script(path, source.text)
    return path, tuple(source.entries)


def _bare(model: ir.Model) -> list[Entry]:
    """The entries of weights without a graph: a state dict and no source.

    Raises:
        UnsupportedType: an element type that PyTorch has not.
    """
    held = {n: v.const_value for n, v in model.graph.initializers.items() if v.const_value is not None}
    if wrong := [n for n, t in held.items() if t.dtype not in TYPES]:
        raise UnsupportedType("PyTorch has no such element type", ", ".join(wrong[:20]), "write .npz")
    return [Entry(n, TYPES[t.dtype], tuple(t.shape.numpy()), t.numpy) for n, t in held.items()]


def _check_exportable(model: ir.Model) -> None:
    """``torch.export`` records one straight run: what chooses its way at run time is refused."""
    found = [layer_of(n) for n in model.graph if n.op_type == "If"]
    if found:
        raise UnsupportedOp(
            f"an exported program cannot choose its way at run time: {len(found)} If ({', '.join(found[:20])})",
            model.graph.name or "",
            "write .py, which keeps them as Python's own if",
        )
    for node in model.graph:
        if node.op_type == "NonMaxSuppression" and (most_boxes(node) or 0) > _MOST_BOXES:
            raise UnsupportedOp(
                f"an exported program chooses at most {_MOST_BOXES} boxes of a class: {layer_of(node)} wants more",
                model.graph.name or "",
                "write .py",
            )


def _write_script(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    remember(path)

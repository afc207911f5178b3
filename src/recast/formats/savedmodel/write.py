"""Write a SavedModel: another format's file first, which its own framework then exports."""

from __future__ import annotations

import re
from pathlib import Path

import onnx_ir as ir

from recast._util.child import RemoteRunner
from recast._util.optional import have
from recast.errors import BadRecipe, InternalError, MissingDependency
from recast.formats._format import Artifact, Format, WriteOptions


def write(model: ir.Model, path: Path, options: WriteOptions, through: Format | None) -> Artifact:
    """Write a folder; inputs and outputs keep their names in the signature ``serving_default``.

    Args:
        model: in the form that ``through`` wishes.
        path: the folder to make.
        options: handed on.
        through: the format that is written first (Keras).

    Raises:
        BadRecipe: a frozen graph is wanted.
        MissingDependency: TensorFlow or Keras is not installed.
        UnsupportedOp, UnsupportedType: what Keras cannot express.
    """
    if path.suffix.lower() == ".pb":
        raise BadRecipe("frozen graphs are read, not written", str(path), "name a folder, and pass --to savedmodel")
    if through is None:
        raise InternalError("the format that SavedModels are written through is not known")
    for name in ("tensorflow", "keras"):
        if not have(name):
            raise MissingDependency(f"'{name}' is not installed", str(path), "pip install 'recast-nn[tensorflow]'")
    names = [[_plain(v.name or "") for v in ends] for ends in (model.graph.inputs, model.graph.outputs)]
    made = through.write(model, path.with_name(f"{path.name}.keras"), options)
    try:
        exporting = {"to": str(path), "inputs": names[0], "outputs": names[1]}
        RemoteRunner("recast.formats.savedmodel.export", made.files[0], exporting).close()
    finally:
        for file in made.files:
            file.unlink(missing_ok=True)
    return Artifact((path,), made.findings)


def _plain(name: str) -> str:
    """A name that TensorFlow takes as an argument's."""
    plain = re.sub(r"\W", "_", name)
    return plain if plain[:1].isalpha() else f"x_{plain}"

"""Write OpenVINO IR: an ONNX file first, which OpenVINO converts."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from recast._util.child import RemoteRunner
from recast._util.optional import have
from recast.errors import InternalError, MissingDependency
from recast.formats._format import Artifact, Finding, Format, WriteOptions

_NARROWED = {
    ir.DataType.INT64: "int32",
    ir.DataType.UINT64: "int32",
    ir.DataType.UINT32: "int32",
    ir.DataType.DOUBLE: "float32",
}


def write(model: ir.Model, path: Path, options: WriteOptions, through: Format | None) -> Artifact:
    """Write ``path`` and its ``.bin``; weights keep their type.

    Args:
        model: in the form that ``through`` wishes.
        path: the ``.xml`` file.
        options: handed on.
        through: the format that is written first (ONNX).

    Raises:
        MissingDependency: OpenVINO is not installed.
        UnsupportedOp: OpenVINO cannot convert an operator.
    """
    if through is None:
        raise InternalError("the format that OpenVINO IR is written through is not known")
    if not have("openvino"):
        raise MissingDependency("'openvino' is not installed", str(path), "pip install 'recast-nn[openvino]'")
    findings = _narrowed(model)
    made = through.write(model, path.with_name(f"{path.stem}.onnx"), options)
    try:
        RemoteRunner("recast.formats.openvino.export", made.files[0], {"to": str(path)}).close()
    finally:
        for file in made.files:
            file.unlink(missing_ok=True)
    return Artifact((path, path.with_suffix(".bin")), made.findings + findings)


def _narrowed(model: ir.Model) -> tuple[Finding, ...]:
    """Inputs and outputs of types that the file keeps and OpenVINO's CPU plugin computes in narrower ones."""
    return tuple(
        Finding(
            f"OpenVINO computes {value.dtype.name.lower()} as {_NARROWED[value.dtype]} on the CPU", value.name or ""
        )
        for value in (*model.graph.inputs, *model.graph.outputs)
        if value.dtype in _NARROWED
    )

"""OpenVINO converts an ONNX file to IR. Runs in a child process (``_util/worker.py``)."""

from __future__ import annotations

from typing import Any

from recast._util.child import TensorSpec
from recast._util.optional import need
from recast.errors import UnsupportedOp


class Session:
    """The conversion is the whole session: there is nothing to run afterwards.

    Args:
        path: an ``.onnx`` file, which Recast has just written.
        options: ``to``: the ``.xml`` file to make.

    Raises:
        UnsupportedOp: OpenVINO refuses the graph.
    """

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        openvino = need("openvino", "openvino")
        self.inputs: list[TensorSpec] = []
        self.outputs: list[TensorSpec] = []
        try:
            model = openvino.convert_model(path)
            openvino.save_model(model, options["to"], compress_to_fp16=False)
        except Exception as error:  # its front end raises anything
            raise UnsupportedOp(
                f"OpenVINO cannot convert the graph: {_short(error)}", path, "write .onnx, which OpenVINO's tools take"
            ) from error


def _short(error: Exception) -> str:
    """The lines of OpenVINO's message that are not about its own source files."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith(("Exception from", "Check '", "While validating"))]
    return " ".join(kept or lines)[:600]

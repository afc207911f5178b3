"""MindIR (``.mindir``): MindSpore's exported graphs, read and written as plain protobuf."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recast.formats._format import Artifact, Format, Layout, ReadOptions, Runner, WriteOptions

if TYPE_CHECKING:
    import onnx_ir as ir

# ModelProto.ir_version (field 1, a string such as "0.1.1") comes first; ONNX has a number there.
_HEAD = re.compile(rb"\x0a[\x01-\x20][0-9]{1,4}(\.[0-9]{1,4}){1,3}[\x12\x1a\x22\x2a\x32\x3a\x42\x4a\x50]")


# ONNX functions that the writer has handlers for
_FUNCTIONS = frozenset(
    (
        "CastLike",
        "Celu",
        "Clip",
        "Elu",
        "Gelu",
        "GreaterOrEqual",
        "GroupNormalization",
        "HardSigmoid",
        "HardSwish",
        "LayerNormalization",
        "LeakyRelu",
        "LessOrEqual",
        "LogSoftmax",
        "MeanVarianceNormalization",
        "Mish",
        "PRelu",
        "RMSNormalization",
        "Range",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceSumSquare",
        "Relu",
        "Selu",
        "Softmax",
        "Softplus",
        "Softsign",
        "Swish",
        "ThresholdedRelu",
    )
)


class MindSpore(Format):
    """MindSpore's graph file. Loads with ``mindspore.load`` and runs in ``mindspore.nn.GraphCell``."""

    name = "mindspore"
    title = "MindSpore MindIR"
    suffixes = (".mindir",)
    layout: ClassVar[Layout] = "channels_first"
    passes = (
        *("decompose", "inline_functions", "decompose", "fold_constants", "layout", "join_moves", "merge_moves"),
        "clean",
    )
    keep_functions = _FUNCTIONS
    judge = ("mindspore", "mindspore")

    def native(self, node: ir.Node) -> bool:
        from recast.formats.mindspore.writing import native

        return native(node)

    def sniff(self, path: Path, head: bytes) -> bool:
        match = _HEAD.match(head)
        if match is not None:
            return match.end() == head[1] + 3
        return path.suffix == ".ckpt" and head[:1] == b"\x0a"

    def read(self, path: Path, options: ReadOptions) -> ir.Model:
        from recast.formats.mindspore import checkpoint
        from recast.formats.mindspore.read import read

        with open(path, "rb") as file:
            head = file.read(4096)
        return read(path, options) if _HEAD.match(head) or not checkpoint.sniff(head) else checkpoint.read(path)

    def write(self, model: ir.Model, path: Path, options: WriteOptions) -> Artifact:
        from recast.formats.mindspore.write import write

        return write(model, path)

    def open(self, path: Path) -> Runner:
        from recast._util.child import RemoteRunner
        from recast._util.optional import have
        from recast.errors import MissingDependency

        if not have("mindspore"):
            raise MissingDependency("'mindspore' is not installed", str(path), "pip install 'recast-nn[mindspore]'")
        return RemoteRunner("recast.formats.mindspore.run", path)


FORMAT = MindSpore()

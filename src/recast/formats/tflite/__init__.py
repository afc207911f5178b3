"""LiteRT (TensorFlow Lite) flatbuffers: ``.tflite``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recast.formats._format import Artifact, Format, Layout, ReadOptions, Runner, WriteOptions

if TYPE_CHECKING:
    import onnx_ir as ir

# ONNX functions that writing/ has a form for; the others are inlined
_FUNCTIONS = frozenset(
    {
        *("Celu", "Clip", "Elu", "Gelu", "GreaterOrEqual", "GroupNormalization", "HardSigmoid", "HardSwish"),
        *("LayerNormalization", "LeakyRelu", "LessOrEqual", "LogSoftmax", "Mish", "PRelu", "RMSNormalization"),
        *("Range", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare", "Relu", "Selu"),
        *("Softmax", "Softplus", "Softsign", "ThresholdedRelu"),
    }
)


class TFLite(Format):
    """Channels-last graphs with fused activations; int8 through the file's own scales."""

    name: ClassVar[str] = "tflite"
    title: ClassVar[str] = "LiteRT / TensorFlow Lite"
    suffixes: ClassVar[tuple[str, ...]] = (".tflite", ".lite")
    layout: ClassVar[Layout] = "channels_last"
    passes: ClassVar[tuple[str, ...]] = (
        "signed_integers",
        "drop_dropout",
        "decompose",
        "inline_functions",
        "decompose",
        "fold_constants",
        "layout",
        "join_moves",
        "merge_moves",
        "merge_slices",
        "fuse_batchnorm",
        "clean",
    )
    rnn_batch_major: ClassVar[bool] = True
    keep_functions: ClassVar[frozenset[str]] = _FUNCTIONS
    judge: ClassVar[tuple[str, str]] = ("ai_edge_litert", "")
    packs_zeros: ClassVar[bool] = True

    def native(self, node: ir.Node) -> bool:
        from recast.formats.tflite.writing import native

        return native(node)

    def sniff(self, path: Path, head: bytes) -> bool:
        return head[4:8] == b"TFL3"

    def read(self, path: Path, options: ReadOptions) -> ir.Model:
        from recast.formats.tflite.read import read

        return read(path, options)

    def write(self, model: ir.Model, path: Path, options: WriteOptions) -> Artifact:
        from recast.formats.tflite.write import write

        return write(model, path, options)

    def open(self, path: Path) -> Runner:
        from recast._util.child import RemoteRunner

        return RemoteRunner("recast.formats.tflite.run", path)

    def open_source(self, path: Path, options: ReadOptions) -> Runner:
        """LiteRT without its rounding of activations where only the weights are integers (``real_weights``)."""
        from recast._util.child import RemoteRunner

        return RemoteRunner("recast.formats.tflite.run", path, {"real_weights": True})


FORMAT = TFLite()

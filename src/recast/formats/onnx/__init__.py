"""ONNX: ``.onnx`` with external data; the judge is ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recast._util.child import RemoteRunner
from recast.formats._format import Artifact, Format, ReadOptions, WriteOptions

if TYPE_CHECKING:
    import onnx_ir as ir

# every function of ONNX: what ``native`` refuses of them is written out (a test compares this with ONNX)
_FUNCTIONS = frozenset((
    "AffineGrid", "Attention", "Bernoulli", "BlackmanWindow", "CastLike", "CausalConvWithState", "Celu",
    "CenterCropPad", "Clip", "DepthToSpace", "DynamicQuantizeLinear", "Elu", "Gelu", "GreaterOrEqual",
    "GroupNormalization", "HammingWindow", "HannWindow", "HardSigmoid", "HardSwish", "LayerNormalization", "LeakyRelu",
    "LessOrEqual", "LinearAttention", "LogSoftmax", "MeanVarianceNormalization", "Mish", "NegativeLogLikelihoodLoss",
    "PRelu", "RMSNormalization", "Range", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare",
    "Relu", "RotaryEmbedding", "Selu", "SequenceMap", "Shrink", "Softmax", "SoftmaxCrossEntropyLoss", "Softplus",
    "Softsign", "SpaceToDepth", "SwiGLU", "Swish", "ThresholdedRelu",
))  # fmt: skip


class OnnxFormat(Format):
    """Open Neural Network Exchange files, opset 7 and newer."""

    name: ClassVar[str] = "onnx"
    title: ClassVar[str] = "ONNX"
    suffixes: ClassVar[tuple[str, ...]] = (".onnx",)
    passes: ClassVar[tuple[str, ...]] = (
        *("inline_functions", "decompose", "layout", "channel_dense", "join_moves", "merge_moves", "merge_slices"),
        "clean",
    )
    keep_functions: ClassVar[frozenset[str]] = _FUNCTIONS
    keep_tied: ClassVar[bool] = True
    judge: ClassVar[tuple[str, str]] = ("onnxruntime", "")
    packs_zeros: ClassVar[bool] = True

    def native(self, node: ir.Node) -> bool:
        """Whether ONNX Runtime has a kernel; of Attention its general form only, slower than products and a softmax.

        What it neither has nor can be written in others stays: the file is ONNX, whoever runs it.
        """
        from recast.formats.onnx.kernels import has_kernel
        from recast.passes.decompositions import decomposable

        return has_kernel(node) and not (node.op_type == "Attention" and decomposable(node))

    def sniff(self, path: Path, head: bytes) -> bool:
        """A protobuf that starts with ``ir_version`` (field 1, varint), or any ``.onnx`` file."""
        if head[4:8] == b"TFL3":
            return False
        return (len(head) > 2 and head[0] == 0x08 and head[1] < 0x40) or path.suffix.lower() == ".onnx"

    def read(self, path: Path, options: ReadOptions) -> ir.Model:
        """See ``Format.read``."""
        from recast.formats.onnx.read import read

        return read(path, options)

    def write(self, model: ir.Model, path: Path, options: WriteOptions) -> Artifact:
        """See ``Format.write``."""
        from recast.formats.onnx.write import write

        return write(model, path, options)

    def open(self, path: Path) -> RemoteRunner:
        """Load the file in ONNX Runtime, in a child process."""
        return RemoteRunner("recast.formats.onnx.run", path)

    def open_deployed(self, path: Path) -> RemoteRunner:
        """With fused integer kernels."""
        return RemoteRunner("recast.formats.onnx.run", path, {"optimization": "all"})


FORMAT = OnnxFormat()

"""Keras: ``.keras`` archives and ``.h5`` / ``.hdf5`` files of Keras 1, 2 and 3, read and written without Keras."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recast.formats._format import Artifact, Format, Layout, ReadOptions, Runner, WriteOptions

if TYPE_CHECKING:
    import onnx_ir as ir

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"

# ONNX functions that the writer expresses itself
_NATIVE = [
    "Attention",
    "Celu",
    "Clip",
    "DepthToSpace",
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
    "SpaceToDepth",
    "Swish",
    "ThresholdedRelu",
]


class KerasFormat(Format):
    """Whole Keras models: architecture and weights in one file."""

    name: ClassVar[str] = "keras"
    title: ClassVar[str] = "Keras"
    suffixes: ClassVar[tuple[str, ...]] = (".keras", ".h5", ".hdf5")
    layout: ClassVar[Layout] = "channels_last"
    passes: ClassVar[tuple[str, ...]] = (
        *("fold_constants", "inline_functions", "fold_constants", "unroll_loops", "inline_functions", "decompose"),
        *("fold_constants", "layout", "join_moves", "merge_moves", "clean"),
    )
    rnn_batch_major: ClassVar[bool] = True
    keep_functions: ClassVar[frozenset[str]] = frozenset(_NATIVE)
    judge: ClassVar[tuple[str, str]] = ("keras", "keras")

    def native(self, node: ir.Node) -> bool:
        """Whether a handler takes the node as it is: tried without effect, before the layout is chosen."""
        from recast.formats.keras.writing._trial import native

        return native(node)

    def sniff(self, path: Path, head: bytes) -> bool:
        """HDF5 files, and zip archives that hold Keras's ``config.json``."""
        if head.startswith(_HDF5):
            return True
        if not head.startswith(_ZIP):
            return False
        from recast.formats.keras.archive import is_keras_archive

        return is_keras_archive(path)

    def read(self, path: Path, options: ReadOptions) -> ir.Model:
        """Parse the file into the graph dialect; see ``recast.formats.keras.read``."""
        from recast.formats.keras.read import read

        return read(path, options)

    def write(self, model: ir.Model, path: Path, options: WriteOptions) -> Artifact:
        """Write native Keras layers; see ``recast.formats.keras.write``."""
        from recast.formats.keras.write import write

        return write(model, path, options)

    def open(self, path: Path) -> Runner:
        """Load the file with Keras in a child process."""
        from recast._util.child import RemoteRunner

        return RemoteRunner("recast.formats.keras.run", path)


FORMAT = KerasFormat()

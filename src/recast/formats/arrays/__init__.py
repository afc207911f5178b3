"""Weights without a graph: safetensors, ``.npy``, ``.npz``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recast.errors import BadRecipe
from recast.formats._format import Artifact, Format, ReadOptions, Runner, WriteOptions

if TYPE_CHECKING:
    import onnx_ir as ir


class ArraysFormat(Format):
    """Named tensors. They become a graph of initializers and nothing else."""

    name: ClassVar[str] = "arrays"
    title: ClassVar[str] = "weights"
    suffixes: ClassVar[tuple[str, ...]] = (".safetensors", ".npz", ".npy")
    has_graph: ClassVar[bool] = False
    packs_zeros: ClassVar[bool] = True

    def sniff(self, path: Path, head: bytes) -> bool:
        """safetensors: a length then ``{``; NumPy's magic; a zip whose first member is ``.npy``."""
        if head.startswith(b"\x93NUMPY"):
            return True
        if head.startswith(b"PK\x03\x04"):
            name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
            return name.endswith(b".npy")
        return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 40

    def read(self, path: Path, options: ReadOptions) -> ir.Model:
        """See ``Format.read``."""
        from recast.formats.arrays.read import read

        return read(path)

    def write(self, model: ir.Model, path: Path, options: WriteOptions) -> Artifact:
        """See ``Format.write``; of a model with a graph only the weights are written, with a Finding."""
        from recast.formats.arrays.write import write

        return write(model, path, options.sparse)

    def open(self, path: Path) -> Runner:
        """Weights cannot run.

        Raises:
            BadRecipe: always.
        """
        raise BadRecipe(
            "a file of weights has no graph to run", str(path), "verify compares such files tensor by tensor"
        )


FORMAT = ArraysFormat()

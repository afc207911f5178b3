"""TensorFlow: SavedModel folders and frozen graphs (``.pb``), read as plain protobuf."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recast.formats._format import Artifact, Format, Layout, ReadOptions, Runner, WriteOptions

if TYPE_CHECKING:
    import onnx_ir as ir


class SavedModel(Format):
    """TensorFlow's own files. Frozen graphs are read, and SavedModels of TensorFlow 1 and 2."""

    name: ClassVar[str] = "savedmodel"
    title: ClassVar[str] = "TensorFlow SavedModel"
    suffixes: ClassVar[tuple[str, ...]] = (".pb",)
    layout: ClassVar[Layout] = "channels_last"
    judge: ClassVar[tuple[str, str]] = ("tensorflow", "tensorflow")
    can_write: ClassVar[bool] = False

    def sniff(self, path: Path, head: bytes) -> bool:
        """A folder with ``saved_model.pb``, that file itself, or a graph whose first node is well-formed."""
        if not head:
            return (path / "saved_model.pb").is_file()
        from recast.formats.savedmodel.sniff import is_graph

        return path.name == "saved_model.pb" or is_graph(head)

    def read(self, path: Path, options: ReadOptions) -> ir.Model:
        from recast.formats.savedmodel.read import read

        return read(path, options)

    def write(self, model: ir.Model, path: Path, options: WriteOptions) -> Artifact:
        from recast.errors import UnknownFormat

        raise UnknownFormat("SavedModels are not written", str(path), "write a .keras file; Keras exports it")

    def open(self, path: Path) -> Runner:
        from recast._util.child import RemoteRunner
        from recast._util.optional import have
        from recast.errors import MissingDependency

        if not have("tensorflow"):
            raise MissingDependency("'tensorflow' is not installed", str(path), "pip install 'recast-nn[tensorflow]'")
        return RemoteRunner("recast.formats.savedmodel.run", path)


FORMAT = SavedModel()

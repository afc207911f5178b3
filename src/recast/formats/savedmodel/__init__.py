"""TensorFlow: SavedModel folders and frozen graphs (``.pb``), read as plain protobuf."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recast.formats._format import Artifact, Format, ReadOptions, Runner, WriteOptions

if TYPE_CHECKING:
    import onnx_ir as ir


class SavedModel(Format):
    """TensorFlow's own files. Frozen graphs and SavedModels are read; SavedModels are written where TensorFlow is."""

    name: ClassVar[str] = "savedmodel"
    title: ClassVar[str] = "TensorFlow SavedModel"
    suffixes: ClassVar[tuple[str, ...]] = (".savedmodel", ".pb")
    via: ClassVar[str] = "keras"
    judge: ClassVar[tuple[str, str]] = ("tensorflow", "tensorflow")

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
        """Write a Keras model, which Keras and TensorFlow export in a child process (see ``export.py``)."""
        from recast.formats.savedmodel.write import write

        return write(model, path, options, self.through)

    def open(self, path: Path) -> Runner:
        from recast._util.child import RemoteRunner
        from recast._util.optional import have
        from recast.errors import MissingDependency

        if not have("tensorflow"):
            raise MissingDependency("'tensorflow' is not installed", str(path), "pip install 'recast-nn[tensorflow]'")
        return RemoteRunner("recast.formats.savedmodel.run", path)


FORMAT = SavedModel()

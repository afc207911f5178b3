"""The judge of SavedModels and frozen graphs: TensorFlow itself. Runs in a child process (``_util/worker.py``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recast._util.child import TensorSpec
from recast._util.optional import need
from recast.errors import BadModel, BadShape
from recast.formats.savedmodel import schema
from recast.formats.savedmodel.source import End, Source, folder_of, load

Run = Callable[[dict[str, np.ndarray]], Sequence[Any]]


def preload() -> Any:
    """Import TensorFlow.

    Raises:
        MissingDependency: it is not installed.
    """
    return need("tensorflow", "tensorflow")


class Session:
    """One model in TensorFlow; inputs and outputs are called as the reader calls them.

    Args:
        path: a SavedModel's folder, its ``saved_model.pb``, or a frozen ``.pb``.
        options: none are used.

    Raises:
        BadModel: TensorFlow refuses the file.
    """

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        del options
        self._tf = preload()
        self._source = load(Path(path))
        folder = folder_of(Path(path))
        try:
            self._run = self._frozen(Path(path)) if folder is None else self._saved_model(folder)
        except Exception as error:  # TensorFlow raises anything on files it does not like
            raise BadModel(f"TensorFlow refuses the file: {str(error)[:500]}", path) from error
        self.inputs = [_spec(e) for e in self._source.inputs]
        self.outputs = [_spec(e) for e in self._source.outputs]

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once.

        Raises:
            BadShape: a feed is missing.
        """
        missing = [e.name for e in self._source.inputs if e.name not in feeds]
        if missing:
            raise BadShape(f"no data for {', '.join(missing)}", self._source.where, "give one array for every input")
        results = self._run(feeds)
        return {e.name: np.asarray(r) for e, r in zip(self._source.outputs, results, strict=True)}

    def _saved_model(self, folder: Path) -> Run:
        """TensorFlow 2's loader; TensorFlow 1's for files that it does not take (old optimizers)."""
        tf, source = self._tf, self._source
        try:
            loaded = tf.saved_model.load(str(folder), tags=list(source.tags) or None)
            signature = loaded.signatures[source.signature]
        except Exception:  # KeyError, AttributeError … depending on the version that wrote the file
            return self._session(lambda session: self._load_old(session, folder))

        def run(feeds: dict[str, np.ndarray]) -> Sequence[Any]:
            results = signature(**{e.name: tf.constant(feeds[e.name]) for e in source.inputs})
            return [results[e.name].numpy() for e in source.outputs]

        self._loaded = loaded  # variables live as long as this does
        return run

    def _load_old(self, session: Any, folder: Path) -> None:
        self._tf.compat.v1.saved_model.loader.load(session, list(self._source.tags), str(folder))

    def _frozen(self, path: Path) -> Run:
        v1 = self._tf.compat.v1
        graph_def = v1.GraphDef()
        graph_def.ParseFromString(path.read_bytes())
        return self._session(lambda session: v1.import_graph_def(graph_def, name=""))

    def _session(self, fill: Callable[[Any], None]) -> Run:
        v1, source = self._tf.compat.v1, self._source
        graph = v1.Graph()
        with graph.as_default():
            session = v1.Session(graph=graph)
            fill(session)

        def run(feeds: dict[str, np.ndarray]) -> Sequence[Any]:
            given = {_full(e): feeds[e.name] for e in source.inputs}
            results: Sequence[Any] = session.run([_full(e) for e in source.outputs], given)
            return results

        self._complete(source, graph)
        return run

    def _complete(self, source: Source, graph: Any) -> None:
        """Types and shapes that only TensorFlow's own inference tells."""
        for ends in (source.inputs, source.outputs):
            for place, end in enumerate(ends):
                tensor = graph.get_tensor_by_name(_full(end))
                shape = None if tensor.shape.rank is None else tensor.shape.as_list()
                ends[place] = End(
                    end.name,
                    end.tensor,
                    end.dtype or int(tensor.dtype.base_dtype.as_datatype_enum),
                    end.shape if end.shape is not None else shape,
                )


def _full(end: End) -> str:
    return end.tensor if ":" in end.tensor else f"{end.tensor}:0"


def _spec(end: End) -> TensorSpec:
    shape = tuple(
        d if d is not None else ("batch" if axis == 0 else f"{end.name}_{axis}")
        for axis, d in enumerate(end.shape or [])
    )
    return TensorSpec(end.name, schema.type_name(end.dtype), shape)

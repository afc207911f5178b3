"""Keras exports a model as a SavedModel. Runs in a child process (``_util/worker.py``)."""

from __future__ import annotations

import os
from typing import Any

from recast._util.child import TensorSpec
from recast._util.optional import need
from recast.errors import BadModel


class Session:
    """The export is the whole session: there is nothing to run afterwards.

    Args:
        path: a ``.keras`` file, which Recast has just written.
        options: ``to``: the folder to make; ``inputs``, ``outputs``: names, in the model's order.

    Raises:
        BadModel: Keras or TensorFlow refuses.
    """

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        os.environ["KERAS_BACKEND"] = "tensorflow"
        keras, tf = need("keras", "tensorflow"), need("tensorflow", "tensorflow")
        self.inputs: list[TensorSpec] = []
        self.outputs: list[TensorSpec] = []
        try:
            model = keras.models.load_model(path, compile=False, safe_mode=True)
            self._export(keras, tf, model, options)
        except Exception as error:  # both raise anything
            raise BadModel(f"Keras cannot export the model: {str(error)[:500]}", path) from error

    def _export(self, keras: Any, tf: Any, model: Any, options: dict[str, Any]) -> None:
        specs = [tf.TensorSpec(t.shape, t.dtype, name=n) for t, n in zip(model.inputs, options["inputs"], strict=True)]
        structure = getattr(model, "_inputs_struct", None)

        def serve(*given: Any) -> dict[str, Any]:
            values: Any = given[0] if len(given) == 1 else list(given)
            if isinstance(structure, dict):
                values = keras.tree.pack_sequence_as(structure, list(given))
            made = keras.tree.flatten(model(values, training=False))
            return {n: tf.identity(v) for n, v in zip(options["outputs"], made, strict=True)}

        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint("serving_default", serve, input_signature=specs)
        archive.write_out(options["to"], verbose=False)

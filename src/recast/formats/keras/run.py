"""Judge: run a file with stock Keras. Only ever imported in a child process (``recast._util.worker``)."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from recast._util.child import TensorSpec
from recast._util.optional import have, need
from recast.errors import BadModel, MissingDependency

_BACKENDS = (("tensorflow", "tensorflow"), ("torch", "torch"), ("jax", "jax"))


def preload() -> Any:
    """Import Keras with the backend that is there.

    Raises:
        MissingDependency: there is none.
    """
    if "KERAS_BACKEND" not in os.environ:
        backend = next((name for name, package in _BACKENDS if have(package)), None)
        if backend is None:
            raise MissingDependency("Keras has no backend", fix="pip install 'recast-nn[tensorflow]'")
        os.environ["KERAS_BACKEND"] = backend
    return need("keras", "keras")


class Session:
    """A Keras model loaded in safe mode, without compiling.

    Args:
        path: ``.keras``, ``.h5`` or ``.hdf5``.
        options: ``threads``: how many the backend may use (default: its own choice).

    Raises:
        MissingDependency: Keras, or a backend for it, is not installed.
        BadModel: Keras refuses the file.
    """

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        self._keras = preload()
        _set_threads(self._keras.backend.backend(), options.get("threads"))
        from recast.formats.keras.read import input_layers, load, output_names

        source = load(Path(path))
        self._model = self._load(path, source.version)
        names = [name for name, _ in input_layers(source.network)]
        tensors = list(self._model.inputs)
        if len(tensors) != len(names):
            raise BadModel(f"Keras sees {len(tensors)} inputs, the file {len(names)}", path)
        self.inputs = [_spec(n, t) for n, t in zip(names, tensors, strict=True)]
        self._structure = getattr(self._model, "_inputs_struct", None)
        self._step: Any = None
        results = self._keras.tree.flatten(self._model.outputs)
        self.outputs = [_spec(n, t) for n, t in zip(output_names(source.network), results, strict=True)]

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One inference call (``training=False``)."""
        made = self._call(self._given([feeds[spec.name] for spec in self.inputs]))
        arrays = [self._keras.ops.convert_to_numpy(v) for v in self._keras.tree.flatten(made)]
        return {spec.name: array for spec, array in zip(self.outputs, arrays, strict=True)}

    def latency(
        self, feeds: dict[str, np.ndarray], repeats: int = 50, warmup: int = 5
    ) -> tuple[list[float], dict[str, np.ndarray]]:
        """Seconds of each of ``repeats`` runs after ``warmup`` ones, as ``Model.predict`` runs it: compiled."""
        convert = self._keras.ops.convert_to_tensor
        given = self._given([convert(feeds[spec.name]) for spec in self.inputs])
        step = self._compiled()
        times = []
        for turn in range(warmup + repeats):
            start = time.perf_counter()
            made = step(given)
            self._keras.ops.convert_to_numpy(self._keras.tree.flatten(made)[0])  # backends may run ahead
            if turn >= warmup:
                times.append(time.perf_counter() - start)
        return times, {}

    def _compiled(self) -> Any:
        if self._keras.backend.backend() != "tensorflow":
            return self._call
        if self._step is None:
            self._step = need("tensorflow", "tensorflow").function(self._call, reduce_retracing=True)
        return self._step

    def _call(self, given: Any) -> Any:
        return self._model(given, training=False)

    def _given(self, values: list[Any]) -> Any:
        if len(values) == 1:
            return values[0]
        if isinstance(self._structure, dict):
            return self._keras.tree.pack_sequence_as(self._structure, values)
        return values

    def _load(self, path: str, version: int) -> Any:
        objects = self._old_meanings() if version < 3 else {}
        try:
            return self._keras.models.load_model(path, compile=False, safe_mode=True, custom_objects=objects)
        except Exception as error:  # Keras raises anything on files it does not know
            if version >= 3:
                raise BadModel(f"Keras refuses the file: {str(error)[:500]}", path) from error
        from recast.formats.keras.old_config import cleaned

        with contextlib.suppress(OSError):
            return self._rebuild(path, cleaned, objects)
        raise BadModel("Keras refuses the file", path)

    def _rebuild(self, path: str, cleaned: Any, objects: dict[str, Any]) -> Any:
        """Load an old file whose config has entries that Keras 3 does not take any more."""
        import h5py
        from keras.src.legacy.saving import legacy_h5_format

        with h5py.File(path, "r") as file:
            text = file.attrs["model_config"]
            config = cleaned(json.loads(text if isinstance(text, str) else text.decode()))
            from keras.src.legacy.saving import saving_options, saving_utils

            with saving_options.keras_option_scope(use_legacy_config=True):
                model = saving_utils.model_from_config(config, custom_objects=objects)
            legacy_h5_format.load_weights_from_hdf5_group(file["model_weights"], model)
        return model

    def _old_meanings(self) -> dict[str, Any]:
        """Functions whose meaning changed in Keras 3."""
        ops = self._keras.ops

        def hard_sigmoid(x: Any) -> Any:
            return ops.clip(x * 0.2 + 0.5, 0.0, 1.0)

        return {"hard_sigmoid": hard_sigmoid}


def _set_threads(backend: str, count: int | None) -> None:
    if count is None:
        return
    if backend == "torch":
        need("torch", "torch").set_num_threads(int(count))
    elif backend == "tensorflow":
        with contextlib.suppress(RuntimeError):  # the backend has started, with the same number: see child._idle
            threading = need("tensorflow", "tensorflow").config.threading
            threading.set_intra_op_parallelism_threads(int(count))
            threading.set_inter_op_parallelism_threads(1)


def _spec(name: str, tensor: Any) -> TensorSpec:
    shape = tuple(
        d if isinstance(d, int) else ("batch" if i == 0 else f"{name}_{i}") for i, d in enumerate(tensor.shape)
    )
    return TensorSpec(name, str(tensor.dtype), shape)

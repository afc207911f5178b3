"""Keras' own ``Model.export``: a Keras file to ONNX, SavedModel, OpenVINO or TFLite."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recast.routes.child.job import Job

TITLE = "Keras, Model.export"
TOOL = "keras"
PACKAGES = (
    "keras==3.15.1", "tensorflow==2.21.0", "tf2onnx==1.17.0", "openvino==2026.4.1", "onnx==1.23.2", "protobuf==7.36.2",
    "h5py==3.14.0",
)  # fmt: skip
NEEDS = ("keras", "tensorflow")
EDGES = (("keras", "onnx"), ("keras", "savedmodel"), ("keras", "openvino"), ("keras", "tflite"))
OPTIONS = ("opset",)
_FORMATS = {"onnx": "onnx", "savedmodel": "tf_saved_model", "openvino": "openvino", "tflite": "litert"}


def convert(job: Job) -> list[str]:
    """See ``tools/__init__.py``."""
    source: Any = job.source_model()
    numpy = importlib.import_module("numpy")
    # Keras exports only models that were called once
    source.call([numpy.zeros([d if isinstance(d, int) else 1 for d in s], t) for _, t, s in source.inputs])
    more = {"opset_version": job.opset} if job.opset and job.to == "onnx" else {}
    source.model.export(job.target, format=_FORMATS[job.to], verbose=False, **more)
    if not os.path.exists(job.target):
        raise RuntimeError(f"Keras wrote no {os.path.basename(job.target)}")
    return []

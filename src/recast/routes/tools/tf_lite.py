"""TensorFlow's own TFLite converter: Keras models and SavedModels to TFLite."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recast.routes.child.job import Job

TITLE = "TensorFlow's TFLite converter"
TOOL = "tensorflow"
PACKAGES = ("tensorflow==2.21.0", "keras==3.15.1", "h5py==3.14.0")
NEEDS = ("tensorflow",)
EDGES = (("keras", "tflite"), ("savedmodel", "tflite"))
OPTIONS = ()


def convert(job: Job) -> list[str]:
    """See ``tools/__init__.py``."""
    converters: Any = importlib.import_module("tensorflow").lite.TFLiteConverter
    if job.kind == "keras":
        source: Any = job.source_model()
        converter = converters.from_keras_model(source.model)
    elif os.path.isdir(job.source):
        converter = converters.from_saved_model(job.source)
    else:
        raise ValueError("it takes SavedModel folders; a frozen graph must be made one first")
    made = converter.convert()
    with open(job.target, "wb") as file:
        file.write(made)
    return []

"""The converters we are compared with, each as its users call it. ``python peers.py tflite|tf2onnx SRC DST``."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def load_keras(path: str) -> Any:
    """Load with stock Keras; ``groups`` in old DepthwiseConv2D configs, which Keras 3 refuses, is dropped for it."""
    import keras

    class Depthwise(keras.layers.DepthwiseConv2D):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("groups", None)
            super().__init__(*args, **kwargs)

    return keras.models.load_model(path, compile=False, custom_objects={"DepthwiseConv2D": Depthwise})


def to_tflite(path: str) -> bytes:
    """TensorFlow's converter, from the Keras file."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(load_keras(path))
    with contextlib.redirect_stdout(io.StringIO()):  # it lists every variable
        result: bytes = converter.convert()
    return result


def to_onnx(path: str) -> bytes:
    """tf2onnx, from the Keras file (what ``model.export(format="onnx")`` calls on this backend)."""
    import tensorflow as tf
    import tf2onnx

    model = load_keras(path)
    signature = [tf.TensorSpec(i.shape, i.dtype, name=i.name) for i in model.inputs]
    function = tf.function(lambda *x: model(list(x) if len(x) > 1 else x[0], training=False), input_signature=signature)
    proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=18)
    result: bytes = proto.SerializeToString()
    return result


PEERS = {"tflite": to_tflite, "tf2onnx": to_onnx}

if __name__ == "__main__":
    Path(sys.argv[3]).write_bytes(PEERS[sys.argv[1]](sys.argv[2]))

"""The tools we are compared with, each as its users call it. ``python peers.py tflite|tf2onnx SRC DST`` converts."""

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


def group_norm_pruned(network: Any, example: Any, ratio: float) -> Any:
    """Torch-Pruning's GroupNormPruner as its own CIFAR benchmark calls it: global, 400 small steps, L2 group norms.

    Args:
        network: a PyTorch module whose classifier is called ``linear``.
        example: its input, for tracing.
        ratio: how many times fewer multiply-accumulates.
    """
    import torch_pruning as tp

    before, _ = tp.utils.count_ops_and_params(network, example)
    importance = tp.importance.GroupMagnitudeImportance(p=2)
    pruner = tp.pruner.GroupNormPruner(
        network, example, importance, global_pruning=True, iterative_steps=400, pruning_ratio=1.0,
        ignored_layers=[network.linear],
    )  # fmt: skip
    for _ in range(400):
        pruner.step()
        if before / tp.utils.count_ops_and_params(network, example)[0] >= ratio:
            return network
    raise RuntimeError(f"Torch-Pruning does not reach {ratio} times fewer multiply-accumulates")


PEERS = {"tflite": to_tflite, "tf2onnx": to_onnx}

if __name__ == "__main__":
    Path(sys.argv[3]).write_bytes(PEERS[sys.argv[1]](sys.argv[2]))

"""Every architecture of ``keras.applications``, made by stock Keras with random weights. Needs TensorFlow.

``python applications.py NAME,NAME FOLDER`` writes ``NAME.keras`` and ``NAME.h5`` (``… FOLDER .keras``: only the first;
``ConvNeXtXLarge/4``: a quarter of the width, in files of the same name): 7 classes, no softmax (it would hide
differences), an input that is small and not square. Scales are random, and the statistics of every BatchNormalization
are those of made-up photographs, noise and small numbers together: with untouched ones the signal dies out on its way,
and with those of noise alone (every noise looks alike to a deep layer) rounding is amplified beyond measure.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

NAMES = [
    "ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge",
    "DenseNet121", "DenseNet169", "DenseNet201",
    "EfficientNetB0", "EfficientNetB1", "EfficientNetB2", "EfficientNetB3", "EfficientNetB4", "EfficientNetB5",
    "EfficientNetB6", "EfficientNetB7",
    "EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3", "EfficientNetV2S",
    "EfficientNetV2M", "EfficientNetV2L",
    "InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small",
    "NASNetLarge", "NASNetMobile", "ResNet101", "ResNet101V2", "ResNet152", "ResNet152V2", "ResNet50", "ResNet50V2",
    "VGG16", "VGG19", "Xception",
]  # fmt: skip
FAMILIES = ["MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0", "DenseNet121",
            "NASNetMobile", "ConvNeXtTiny"]  # fmt: skip
SIZE = {"InceptionResNetV2": (79, 89), "InceptionV3": (79, 89), "Xception": (73, 83)}
DEFAULT_SIZE = (37, 53)


def make(name: str, folder: Path, suffixes: tuple[str, ...] = (".keras", ".h5")) -> None:
    """Build one architecture and save it in Keras' formats."""
    import keras
    import numpy as np

    from recast.verification.feeds import FLOAT_KINDS

    keras.utils.set_random_seed(11)
    rng = np.random.default_rng(11)
    name, _, thinner = name.partition("/")
    shape = (*SIZE.get(name, DEFAULT_SIZE), 3)
    given = {"weights": None, "input_shape": shape, "classes": 7, "classifier_activation": None, "include_top": True}
    model = narrow(name, int(thinner), given) if thinner else getattr(keras.applications, name)(**given)
    norms = [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    for layer in model._flatten_layers():
        for weight in layer.weights if not layer._layers else ():
            if "gamma" in weight.name:
                weight.assign(rng.uniform(0.7, 1.4, weight.shape))
            elif "beta" in weight.name or "bias" in weight.name:
                weight.assign(rng.normal(0, 0.1, weight.shape))
    momentum = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    if norms:
        kinds = ["photo"] * 8 + ["pixels"] * 3 + ["smooth"] * 3
        model(np.stack([FLOAT_KINDS[kind](rng, shape) for kind in kinds]).astype(np.float32), training=True)
    for norm, value in zip(norms, momentum, strict=True):
        norm.momentum = value
    for suffix in suffixes:
        model.save(folder / f"{name}{suffix}")


def narrow(name: str, times: int, given: dict[str, Any]) -> Any:
    """A ConvNeXt with so many times fewer channels."""
    from keras.src.applications import convnext

    config = convnext.MODEL_CONFIGS[name.removeprefix("ConvNeXt").lower()]
    return convnext.ConvNeXt(config["depths"], [d // times for d in config["projection_dims"]], **given)


if __name__ == "__main__":
    for chosen in sys.argv[1].split(","):
        make(chosen, Path(sys.argv[2]), tuple(sys.argv[3:]) or (".keras", ".h5"))

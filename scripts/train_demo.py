"""Train the demo network: a small CNN on scikit-learn's handwritten digits (1,797 images of 8×8, values 0–16).

Writes ``src/recast/demo/digits.keras`` (with stock Keras) and ``digits.npz``: 200 held-out images and labels.
Needs the extras ``tensorflow`` and ``dev``. The seed is fixed; the figure is printed.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from sklearn.datasets import load_digits

HELD_OUT = 200
DEMO = Path(__file__).resolve().parents[1] / "src" / "recast" / "demo"


def build() -> keras.Model:
    """Two convolutions with batch normalisation, pooling, two dense layers."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Rescaling(1 / 16, name="scale"),
            layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv1"),
            layers.BatchNormalization(name="norm1"),
            layers.ReLU(name="relu1"),
            layers.MaxPooling2D(2, name="pool1"),
            layers.Conv2D(32, 3, padding="same", use_bias=False, name="conv2"),
            layers.BatchNormalization(name="norm2"),
            layers.ReLU(name="relu2"),
            layers.MaxPooling2D(2, name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dropout(0.3, name="dropout"),
            layers.Dense(32, activation="relu", name="hidden"),
            layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="digits",
    )


def main() -> None:
    """Train, measure, save."""
    keras.utils.set_random_seed(7)
    data = load_digits()
    order = np.random.default_rng(7).permutation(len(data.target))
    x = data.images.astype(np.float32)[order][..., None]
    y = data.target.astype(np.int64)[order]
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x[HELD_OUT:], y[HELD_OUT:], batch_size=32, epochs=40, verbose=0)
    accuracy = model.evaluate(x[:HELD_OUT], y[:HELD_OUT], verbose=0)[1]
    print(f"held-out accuracy: {accuracy:.3f} of {HELD_OUT} images; {model.count_params()} parameters")
    inference = keras.models.clone_model(model)  # without the optimizer's state
    inference.set_weights(model.get_weights())
    inference.save(DEMO / "digits.keras")
    np.savez_compressed(DEMO / "digits.npz", image=x[:HELD_OUT], labels=y[:HELD_OUT])


if __name__ == "__main__":
    main()

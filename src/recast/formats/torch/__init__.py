"""PyTorch: module source with safetensors, state dicts (``.pt``), exported programs (``.pt2``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recast.formats._format import Artifact, Format, ReadOptions, Runner, WriteOptions

if TYPE_CHECKING:
    import onnx_ir as ir

_LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."  # first pickle of torch.save before 1.6
_SUFFIXES = (".py", ".pt", ".pt2", ".pth")
# ONNX functions that the writer has handlers for (a test compares this with the handlers)
_FUNCTIONS = frozenset((
    "AffineGrid", "Attention", "Bernoulli", "CastLike", "Celu", "CenterCropPad", "Clip", "DepthToSpace",
    "DynamicQuantizeLinear", "Elu", "Gelu", "GreaterOrEqual", "GroupNormalization", "HardSigmoid", "HardSwish",
    "LayerNormalization", "LeakyRelu", "LessOrEqual", "LogSoftmax", "MeanVarianceNormalization", "Mish",
    "NegativeLogLikelihoodLoss", "PRelu", "RMSNormalization", "Range", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceSumSquare", "Relu", "RotaryEmbedding", "Selu", "SequenceMap", "Shrink", "Softmax",
    "SoftmaxCrossEntropyLoss", "Softplus", "Softsign", "SpaceToDepth", "SwiGLU", "Swish", "ThresholdedRelu",
))  # fmt: skip


_MARKS = ("data.pkl", "/archive_format", "/models/model.json", "/code/")


def _is_archive(path: Path) -> bool:
    """Whether a zip archive is a checkpoint, TorchScript or an exported program; its marks may come last."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            return any(mark in name for name in archive.namelist() for mark in _MARKS)
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _is_pretrained(folder: Path) -> bool:
    """Whether a folder is one of Hugging Face's: a configuration that names its kind."""
    import json

    config = folder / "config.json"
    try:
        with open(config, encoding="utf-8") as file:
            return "model_type" in json.loads(file.read(1 << 20))
    except (OSError, ValueError, RecursionError):
        return False


class PyTorch(Format):
    """PyTorch modules."""

    name = "torch"
    title = "PyTorch"
    suffixes = _SUFFIXES
    companions: ClassVar[Mapping[str, str]] = {".py": ".safetensors", ".pt": ".py", ".pth": ".py"}
    layout = "channels_first"
    passes = (
        *("inline_functions", "fold_constants", "layout", "fold_constants", "join_moves", "merge_moves"),
        *("merge_slices", "clean"),
    )
    keep_functions = _FUNCTIONS
    keep_tied = True
    judge = ("torch", "torch")
    exported = (".pt2",)

    def passes_for(self, suffix: str) -> tuple[str, ...]:
        """Files name Swish, which graphs to train spell out, as other formats want them back.

        Source keeps its normalisations, which training needs; in an exported program they are folded.
        """
        folded = ("fold_batchnorm",) if suffix == ".pt2" else ()
        return (*self.passes[:-1], "fuse_swish", *folded, self.passes[-1])

    def sniff(self, path: Path, head: bytes) -> bool:
        """Torch's zip or legacy pickle, or Python source that names torch."""
        if path.is_dir():
            return _is_pretrained(path)
        if head.startswith(_LEGACY):
            return True
        if head.startswith(b"PK\x03\x04"):
            return b"data.pkl" in head or b"archive_format" in head or _is_archive(path)
        return path.suffix.lower() == ".py" and b"torch" in head

    def read(self, path: Path, options: ReadOptions) -> ir.Model:
        """See ``read.py``."""
        import importlib

        model: ir.Model = importlib.import_module("recast.formats.torch.read").read(path, options)
        return model

    def write(self, model: ir.Model, path: Path, options: WriteOptions) -> Artifact:
        """See ``write.py``."""
        from recast.formats.torch.write import write

        return write(model, path, options)

    def adopt(self, path: Path) -> None:
        """See ``Format.adopt``."""
        from recast.formats.torch.trust import remember

        remember(path)

    def open(self, path: Path, trust: bool = False) -> Runner:
        """Load in PyTorch, in a child process. Code is executed only if this process wrote it, or with ``trust``."""
        from recast._util.child import RemoteRunner
        from recast.formats.torch.trust import made_here

        return RemoteRunner("recast.formats.torch.run", path, {"sha256": made_here(), "trust": trust})

    def open_source(self, path: Path, options: ReadOptions) -> Runner:
        """A factory's module, a Hugging Face folder, or a file that was read with ``trust``."""
        import importlib

        read = importlib.import_module("recast.formats.torch.read")
        code = path.suffix.lower() in (".py", ".pt2")
        if read.is_factory(path) or path.is_dir() or (code and options.trust):
            runner: Runner = read.session(path, options)
            return runner
        return self.open(path, options.trust)


FORMAT = PyTorch()

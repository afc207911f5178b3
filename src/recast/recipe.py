"""What to do, as data: the command line, Python and a web form all build the same recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from recast.errors import BadRecipe

IoLayout = Literal["keep", "nhwc", "nchw", "auto"]
Dtype = Literal["", "float16", "float32"]


@dataclass(frozen=True)
class Reading:
    """How to read the source.

    Attributes:
        inputs: shapes by input name; a ``str`` dimension stays dynamic under that name.
        weights: checkpoint for a PyTorch factory.
        trust: allow formats whose own libraries run code from the file (``.pt2``).
        task: of a Hugging Face folder: ``text-generation-with-past``, ``encoder``, ``decoder``, ``decoder-with-past``;
            "" is the whole network without a cache.
    """

    inputs: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)
    weights: Path | None = None
    trust: bool = False
    task: str = ""


@dataclass(frozen=True)
class Writing:
    """How to write the target.

    Attributes:
        to: format name; "" takes it from the suffix.
        batch: "" keeps the source's, ``"dynamic"``, or a number.
        io_layout: ``keep`` the source's axes, ``nhwc``, ``nchw``, or ``auto`` (whatever costs no Transpose).
        dtype: "" keeps; ``float16`` stores and computes in half precision where the target can.
        opset: ONNX only; None is the newest that Recast uses.
        force: replace an existing output.
    """

    to: str = ""
    batch: str = ""
    io_layout: IoLayout = "keep"
    dtype: Dtype = ""
    opset: int | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.io_layout not in get_args(IoLayout):
            raise BadRecipe(f"io-layout '{self.io_layout}'", fix=f"one of {', '.join(get_args(IoLayout))}")
        if self.dtype not in get_args(Dtype):
            raise BadRecipe(f"dtype '{self.dtype}'", fix="float16 or float32")
        if self.batch not in ("", "dynamic") and not (self.batch.isdigit() and int(self.batch) > 0):
            raise BadRecipe(f"batch '{self.batch}'", fix="'dynamic' or a positive number")


@dataclass(frozen=True)
class Checking:
    """How to verify.

    Attributes:
        verify: False writes without proof.
        data: ``.npz`` or ``.npy`` with real samples, used besides the seeded feeds.
        seed: of the generated feeds.
    """

    verify: bool = True
    data: Path | None = None
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """One conversion: read, write, check."""

    reading: Reading = Reading()
    writing: Writing = Writing()
    checking: Checking = Checking()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; file names without their folders, so that equal runs give equal certificates."""

        def plain(value: Any) -> Any:
            if isinstance(value, Path):
                return value.name
            if isinstance(value, Mapping):
                return {k: plain(v) for k, v in value.items()}
            return [plain(v) for v in value] if isinstance(value, list | tuple) else value

        result: dict[str, Any] = plain(asdict(self))
        return result

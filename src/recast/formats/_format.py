"""The contract of a format: what a folder under ``formats/`` must offer to be found and used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from recast.graph.finding import Finding as Finding

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    from recast._util.child import TensorSpec

Layout = Literal["channels_first", "channels_last"]


@dataclass(frozen=True)
class ReadOptions:
    """How to read. ``inputs`` fixes shapes by input name; ``weights``, ``trust``, ``task`` are for PyTorch modules."""

    inputs: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)
    weights: Path | None = None
    trust: bool = False
    task: str = ""


@dataclass(frozen=True)
class WriteOptions:
    """How to write. ``opset`` is for ONNX only; ``sparse``: pack weights with many zeros where that is smaller."""

    opset: int | None = None
    sparse: bool = False


@dataclass(frozen=True)
class Artifact:
    """What a writer made: ``files[0]`` is the main file, the rest lie beside it."""

    files: tuple[Path, ...]
    findings: tuple[Finding, ...] = ()


class Runner(Protocol):
    """A loaded model in its own runtime, reusable: feeds in, outputs out."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; arrays are keyed by tensor name."""
        ...

    def close(self) -> None:
        """Release the runtime."""
        ...


class Format(ABC):
    """One format = one folder whose ``__init__`` sets ``FORMAT = <subclass>()``; importing it loads nothing heavy."""

    name: ClassVar[str]
    title: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    layout: ClassVar[Layout] = "channels_first"
    passes: ClassVar[tuple[str, ...]] = ()  # names of modules in recast.passes, run in this order before write
    keep_tied: ClassVar[bool] = False  # a weight that two layers share stays one, also where one takes it transposed
    rnn_batch_major: ClassVar[bool] = False  # recurrent operators take (batch, time, features)
    keep_functions: ClassVar[frozenset[str]] = frozenset()  # ONNX function operators that the target has itself
    judge: ClassVar[tuple[str, str]] = ("", "")  # (import name of the runtime, extra that installs it)
    can_read: ClassVar[bool] = True
    can_write: ClassVar[bool] = True
    has_graph: ClassVar[bool] = True  # False: weights only
    exported: ClassVar[tuple[str, ...]] = ()  # suffixes of files that the judge itself has to write
    via: ClassVar[str] = ""  # the format that is written first; ``write`` makes this one of its file
    through: Format | None = None  # that format; the catalogue sets it
    companions: ClassVar[Mapping[str, str]] = {}  # suffix → that of the file that is written beside, same name
    packs_zeros: ClassVar[bool] = False  # weights with many zeros take less room (``WriteOptions.sparse``)

    def passes_for(self, suffix: str) -> tuple[str, ...]:
        """The passes for a file of this suffix: a format may write some files for use alone, others to work on."""
        return self.passes

    def native(self, node: ir.Node) -> bool:
        """Whether the writer has a form for a node; the pass ``decompose`` writes others as plainer operators."""
        return True

    def borrow(self, other: Format) -> None:
        """Be written through another format: the graph must be as that one wishes it."""
        self.through = other
        for name in ("layout", "passes", "rnn_batch_major", "keep_functions", "keep_tied"):
            setattr(self, name, getattr(other, name))

    def adopt(self, path: Path) -> None:  # noqa: B027 most formats hold no code
        """Note that this run had the file made: a format whose files are code may then execute it to judge it."""

    @abstractmethod
    def sniff(self, path: Path, head: bytes) -> bool:
        """Whether the content is of this format (``head``: the first 4096 bytes; empty for a folder)."""

    @abstractmethod
    def read(self, path: Path, options: ReadOptions) -> ir.Model:
        """Parse the file into the graph dialect (docs/reference/graph.md). Executes nothing.

        Raises:
            BadModel, UnsafeModel, TooLarge, UnsupportedOp: never anything else.
        """

    @abstractmethod
    def write(self, model: ir.Model, path: Path, options: WriteOptions) -> Artifact:
        """Write ``path`` and its companions beside it. The caller stages: plain writing is fine.

        Raises:
            UnsupportedOp, UnsupportedType: all that the target cannot express, in one error.
        """

    @abstractmethod
    def open(self, path: Path) -> Runner:
        """Load the file in its own runtime, in a child process.

        Raises:
            MissingDependency: the runtime is not installed.
        """

    def open_deployed(self, path: Path) -> Runner:
        """Load the file as an application would: with every optimisation of its runtime (for speed and accuracy).

        Raises:
            MissingDependency: the runtime is not installed.
        """
        return self.open(path)

    def open_source(self, path: Path, options: ReadOptions) -> Runner:
        """Load a source as the judge of what was read from it; formats whose sources are no files override this.

        Raises:
            MissingDependency: the runtime is not installed.
        """
        return self.open(path)

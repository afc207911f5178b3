"""What a source is to a tool: mostly its format; PyTorch files are of several kinds."""

from __future__ import annotations

import zipfile
from pathlib import Path

from recast import formats, pipeline
from recast.errors import UnknownFormat

TORCHSCRIPT, WEIGHTS = "torchscript", "weights"
REPOSITORY = "torch-repository"  # a Hugging Face folder or torch.hub repository: our reader knows how to build it


def kind_of(source: str) -> str:
    """The kind of a source that is there, or of one that a name stands for (``model.h5``, ``.h5``, ``keras``).

    Returns:
        a format's name, ``torchscript`` (a program of PyTorch's), ``torch-repository``, or ``weights`` (no graph).

    Raises:
        BadModel, UnknownFormat: nothing that is known.
    """
    path = Path(source)
    if path.exists():
        return _of_file(path)
    if source.lower() in (TORCHSCRIPT, *formats.catalogue()):
        return source.lower()
    if source.startswith("hub:"):
        return REPOSITORY
    if ":" in source:
        return pipeline.source_format(source).name
    return named(source)


def _of_file(path: Path) -> str:
    format_ = formats.of_file(path)
    if not format_.has_graph:
        return WEIGHTS
    if format_.name == "torch" and path.is_dir():
        return REPOSITORY
    if format_.name != "torch" or path.suffix.lower() in (".py", ".pt2"):
        return format_.name
    return TORCHSCRIPT if _is_script(path) else WEIGHTS


def format_of(kind: str) -> str:
    """The format whose reader takes a kind; "" where none does."""
    return "torch" if kind == REPOSITORY else kind if kind in formats.catalogue() else ""


def _is_script(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def named(text: str) -> str:
    """The format that a name or suffix stands for.

    Raises:
        UnknownFormat: none.
    """
    word = text.lower()
    if word in formats.catalogue():
        return word
    suffix = Path(word).suffix or (word if word.startswith(".") else f".{word}")
    for format_ in formats.catalogue().values():
        if suffix in format_.suffixes:
            return format_.name
    known = sorted({s for f in formats.catalogue().values() for s in f.suffixes})
    raise UnknownFormat(f"no format is called '{text}'", fix=f"a file, one of {' '.join(known)}, or a format's name")

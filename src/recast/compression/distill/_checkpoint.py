"""A training that was cut off goes on where its last whole epoch ended, to the very same weights."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recast._util import atomic
from recast.errors import BadModel, BadRecipe

Arrays = Mapping[str, np.ndarray]
_TOLD = "told"


@dataclass(frozen=True)
class Checkpoint:
    """A file that holds one training.

    Attributes:
        path: of the file (``.npz``); it is replaced whole.
        mark: of the training that it belongs to; see ``mark_of``.
    """

    path: Path
    mark: str

    def save(self, told: Mapping[str, Any], arrays: Arrays) -> None:
        """Replace what is there."""
        text = json.dumps({**told, "mark": self.mark}).encode()
        buffer = io.BytesIO()
        np.savez(buffer, **{_TOLD: np.frombuffer(text, np.uint8)}, **arrays)  # type: ignore[arg-type]
        atomic.write_bytes(self.path, buffer.getvalue())

    def load(self) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """What was saved, or None where there is nothing yet.

        Raises:
            BadModel: the file is no checkpoint, or damaged.
            BadRecipe: it belongs to another training.
        """
        if not self.path.exists():
            return None
        try:
            with np.load(io.BytesIO(self.path.read_bytes()), allow_pickle=False) as held:
                arrays = {n: held[n] for n in held.files}
            told = json.loads(arrays.pop(_TOLD).tobytes())
            mark = told["mark"]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise BadModel(f"the checkpoint cannot be read: {error}", str(self.path), "remove it") from error
        if mark != self.mark:
            what = "the checkpoint is of another training: other data, student, teacher or options"
            raise BadRecipe(what, str(self.path), "name another file, or remove this one")
        return told, arrays


def mark_of(facts: Mapping[str, Any], arrays: Iterable[np.ndarray]) -> str:
    """What tells trainings apart: options and all numbers that go in."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()

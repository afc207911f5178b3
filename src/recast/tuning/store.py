"""A search as a file: an Optuna journal, one line a finished trial.

A trial is appended as a whole or not at all, so that a killed search leaves no half-finished trials: at worst a torn
last line, which is cut off when the file is opened. The file is Optuna's own format (``optuna-dashboard FILE`` shows
it) and may hold several searches; each is found by the digest of what it was made from.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast._util.optional import need
from recast.errors import BadRecipe, Busy, OutputFailed
from recast.tuning.sampling import DIRECTIONS, frozen
from recast.tuning.trial import Row

if TYPE_CHECKING:
    from optuna.study import Study


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep a file or folder to this process; a killed process lets go of it. Windows has no such lock: nothing is held.

    Raises:
        Busy: another search holds it.
        OutputFailed: it cannot be opened.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise OutputFailed(f"cannot be opened: {error.strerror}", str(path), "choose another place") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise Busy("another search is at work here", str(path), "wait for it, or name another --storage") from error
    try:
        yield
    finally:
        os.close(handle)


class Store:
    """The trials of one search; the caller holds the file."""

    def __init__(self, path: Path, identity: str) -> None:
        optuna: Any = need("optuna", "tune")
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        logging.getLogger("optuna").setLevel(logging.ERROR)
        _mend(path)
        storage = JournalStorage(JournalFileBackend(str(path), lock_obj=_Held()))
        self._study: Study = optuna.create_study(
            storage=storage, study_name=f"recast-{identity}", directions=DIRECTIONS, load_if_exists=True
        )

    def rows(self) -> list[Row]:
        """What was found so far, in order."""
        return [Row.from_dict(t.user_attrs["row"]) for t in self._study.get_trials(deepcopy=False)]

    def add(self, row: Row) -> None:
        """Append a finished trial."""
        self._study.add_trial(frozen(row))


class _Held:
    """Optuna's own lock would outlive a killed process; the whole file is ours already."""

    def acquire(self) -> bool:
        """It is."""
        return True

    def release(self) -> None:
        """Nothing to do."""


def _mend(path: Path) -> None:
    """Cut off a last line that was not written to its end.

    Raises:
        BadRecipe: the file is something else; it is left as it is.
    """
    with open(path, "rb+") as file:
        whole, newline, torn = file.read().rpartition(b"\n")
        lines = whole.splitlines() if newline else []
        if not all(_is_record(line) for line in lines) or (torn and not lines and not torn.startswith(b"{")):
            raise BadRecipe("the storage is no journal of a search", str(path), "name another --storage")
        file.truncate(len(whole) + len(newline))


def _is_record(line: bytes) -> bool:
    try:
        told = json.loads(line)
    except ValueError:
        return False
    return isinstance(told, dict) and "op_code" in told

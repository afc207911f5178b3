"""The map of a search: propose → try, several at once → time, one at a time → record → deliver the best so far.

Whatever ends it (time, trials, Ctrl-C, SIGTERM, SIGKILL), the target is the best of the recorded trials, whole; the
same call goes on where it ended.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from recast import formats
from recast._util import atomic, progress
from recast.compressing import Settings
from recast.errors import BadRecipe, OutputFailed, RecastError
from recast.pipeline import CERTIFICATE, UNVERIFIED
from recast.tuning.engines import ENGINES, Engine, Order
from recast.tuning.job import Job
from recast.tuning.outcome import Prefer, Tuned, best_of
from recast.tuning.sampling import Sampling, recipe_of
from recast.tuning.space import Choices, described
from recast.tuning.store import Store, held
from recast.tuning.trial import Judge, Row
from recast.tuning.worker import certify, digest_of

TIME_S = 600.0  # where neither time nor trials are given
STORAGE = ".tune"  # added to the target's name


@dataclass(frozen=True)
class Tuning:
    """How to search.

    Attributes:
        settings: as for ``compress``; the limits are the budget.
        time_s: how long this call may search; None: ten minutes, or as long as ``trials`` take.
        trials: how many trials the search has in all, those of earlier calls included.
        jobs: how many at once.
        storage: the search as a file; None: beside the target, with ``.tune`` added to its name.
        engine: ``local`` or ``ray``.
        prefer: what is best among those that meet the budget: the smallest, the best, or the fastest.
    """

    settings: Settings = Settings()
    time_s: float | None = None
    trials: int | None = None
    jobs: int = 1
    storage: Path | None = None
    engine: str = "local"
    prefer: Prefer = "size"

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise BadRecipe(f"engine '{self.engine}'", fix=f"one of: {', '.join(ENGINES)}")
        if self.prefer not in get_args(Prefer):
            raise BadRecipe(f"--prefer {self.prefer}", fix=f"one of: {', '.join(get_args(Prefer))}")
        if self.jobs < 1 or (self.trials is not None and self.trials < 1) or (self.time_s or 1) <= 0:
            raise BadRecipe("jobs, trials and time are positive")


def tune(source: str | Path, target: str | Path, tuning: Tuning = Tuning()) -> Tuned:  # noqa: B008 frozen
    """Search for the best recipe under a budget, and deliver its result.

    Args:
        source: file, folder or ``module:factory``.
        target: output; its suffix chooses the format. It is replaced whenever something better is found.
        tuning: budget, data, time.

    Raises:
        RecastError: the source cannot be read or written in the target's format, or something is in the way.
    """
    return Search(source, target, tuning).run()


class Search:
    """One search; ``outcome()`` may be asked after an interruption too."""

    def __init__(self, source: str | Path, target: str | Path, tuning: Tuning) -> None:
        self._target, self._tuning = Path(target), tuning
        _check_target(self._target, tuning.settings)
        self._job = Job(str(source), self._target.name, tuning.settings)
        self._judge = Judge(tuning.settings.limits, self._job.real)
        self._rows: list[Row] = []
        self._files: tuple[Path, ...] = ()
        self._ended = "interrupted"

    def run(self) -> Tuned:
        """Search until the time is up, the trials are made, or nothing is left to try.

        Raises:
            RecastError: see ``tune``.
        """
        tuning, deadline = self._tuning, _deadline(self._tuning)
        storage = tuning.storage or self._target.with_name(self._target.name + STORAGE)
        if not self._target.parent.is_dir():
            raise OutputFailed("the folder of the output does not exist", str(self._target.parent), "create it first")
        try:
            storage.touch()
        except OSError as error:
            raise OutputFailed(
                f"cannot be written: {error.strerror}", str(storage), "name another --storage"
            ) from error
        with held(storage), _workspace(self._target) as folder:
            progress.emit("reading")
            store = Store(storage, self._job.identity())
            again = self._resume(store.rows())
            engine: Engine = ENGINES[tuning.engine](self._job, tuning.jobs)
            try:
                progress.emit("writing the original")
                engine.original(folder)
                self._loop(engine, store, folder, (deadline, again))
            finally:
                engine.close()
        return self.outcome()

    def outcome(self) -> Tuned:
        """What is found so far."""
        best = best_of(self._rows, self._judge, self._tuning.prefer)
        return Tuned(self._job, tuple(self._rows), best, self._files, self._ended)

    def _resume(self, rows: Sequence[Row]) -> list[Choices]:
        """Take over earlier trials; what must be made again: the best, if the target is not its result.

        Raises:
            OutputExists: the target is there and no trial of this search made it.
        """
        latest = {row.words: row for row in rows}
        self._rows = [row for row in latest.values() if not self._judge.open(row)]  # a new budget may ask for times
        found = self._target if self._target.exists() else None
        digest = digest_of(found) if found else ""
        ours = found is not None and digest in {r.digest for r in rows}
        atomic.check_free(self._target, self._tuning.settings.writing.force or ours)
        best = best_of(self._rows, self._judge, self._tuning.prefer)
        if best is None:
            return []
        row, meets = self._rows[best], self._judge.meets(self._rows[best])
        if meets and digest == row.digest:
            certificate = self._target.with_name(self._target.name + CERTIFICATE)
            self._files = tuple(f for f in (self._target, certificate) if f.exists())
            return []
        self._rows.pop(best)
        return [row.choices]

    def _loop(self, engine: Engine, store: Store, folder: Path, when: tuple[float, list[Choices]]) -> None:
        deadline, again = when
        sampling = Sampling(self._judge, self._job.settings.seed)
        most = self._tuning.trials
        while True:
            width = engine.width if most is None else min(engine.width, most - len(self._rows))
            self._tell(deadline)
            if time.monotonic() >= deadline or (width <= 0 and not again):
                self._ended = "all trials are made" if width <= 0 else "the time is up"
                return
            proposed = again or sampling.propose(self._rows, width)
            again = []
            if not proposed:
                self._ended = "every recipe was tried"
                return
            places = [folder / str(len(self._rows) + i) for i in range(len(proposed))]
            recipes = [recipe_of(choices) for choices in proposed]
            orders = [Order([s.as_dict() for s in r], p) for r, p in zip(recipes, places, strict=True)]
            start = time.monotonic()
            made = engine.batch(orders, deadline)
            took = (time.monotonic() - start) / len(orders)
            for choices, recipe, order, told in zip(proposed, recipes, orders, made, strict=True):
                if told is not None:
                    steps = tuple(order.steps)
                    row = Row(dict(choices), steps, described(recipe), refused=told["refused"], seconds=took)
                    self._record(engine, store, row, told)
                shutil.rmtree(order.folder, ignore_errors=True)

    def _record(self, engine: Engine, store: Store, row: Row, told: Mapping[str, Any]) -> None:
        """Time a candidate, keep the trial, deliver it if it is the best."""
        files = [Path(f) for f in told["files"]]
        if told["comparison"] is not None:
            row = Row.from_dict({**row.as_dict(), "comparison": told["comparison"], "digest": told["digest"]})
        if self._judge.open(row):
            try:
                timed = engine.time(row.as_dict(), files)
                row = Row.from_dict({**row.as_dict(), **timed})
            except RecastError as error:
                row = replace(row, comparison=None, refused=f"it could not be timed: [{error.code}] {error.what}")
        store.add(row)
        self._rows.append(row)
        if best_of(self._rows, self._judge, self._tuning.prefer) == len(self._rows) - 1:
            self._deliver(files, row)

    def _deliver(self, files: Sequence[Path], row: Row) -> None:
        """Replace the target by a better one, whole; where files belong together the old main file goes first."""
        accepted = certify(list(files), row, self._judge.limits, self._judge.real)
        ending = "" if accepted else UNVERIFIED
        pairs = [(f, self._target.parent / (f.name + ending)) for f in files]
        main = pairs[0][1]
        with atomic.undisturbed():
            if len(pairs) > 2 and main.exists():
                os.replace(main, files[0].with_name("old"))
            atomic.commit([*pairs[1:], pairs[0]])
        if accepted:
            for _, path in pairs:
                _remove(path.with_name(path.name + UNVERIFIED))
        self._files = tuple(path for _, path in pairs)

    def _tell(self, deadline: float) -> None:
        best = best_of(self._rows, self._judge, self._tuning.prefer)
        text = f"{len(self._rows)} tried"
        if best is not None:
            row = self._rows[best]
            meets = "best" if self._judge.meets(row) else "nearest"
            text += f"; {meets}: {row.words}, {row.size:,} bytes, loss {row.loss:.2%}"
        if self._tuning.trials is not None:
            progress.emit(text, len(self._rows), self._tuning.trials)
        else:
            span = self._tuning.time_s or TIME_S
            progress.emit(text, round(max(0.0, span - (deadline - time.monotonic()))), round(span))


def _deadline(tuning: Tuning) -> float:
    """When a call that begins now ends (``time.monotonic``)."""
    if tuning.time_s is None and tuning.trials is not None:
        return math.inf
    return time.monotonic() + (tuning.time_s or TIME_S)


@contextmanager
def _workspace(target: Path) -> Iterator[Path]:
    """A folder beside the target, on the same disk; what a killed search left there is removed."""
    folder = target.with_name(f".{target.name}{STORAGE}")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputFailed(f"cannot write here: {error.strerror}", str(target.parent), "choose a folder") from error
    with held(folder):
        for left in folder.iterdir():
            _remove(left)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _check_target(target: Path, settings: Settings) -> None:
    """Refuse a format without a graph.

    Raises:
        BadRecipe: nothing in it can be run.
    """
    writer = formats.by_name(settings.writing.to) if settings.writing.to else formats.for_writing(target)
    if not writer.has_graph:
        raise BadRecipe(f"{writer.name} files hold weights only: nothing can be run", str(target), "tune a model")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

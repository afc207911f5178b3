"""The other side of an engine: makes trials in a process of its own, so that none can take the search down."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from recast import compressing, pipeline
from recast._util import child
from recast._util.child import TensorSpec
from recast.compression.compare import time_runs
from recast.compression.gate import Comparison, Limits
from recast.errors import InternalError, RecastError
from recast.tuning.job import Job, steps_of
from recast.tuning.trial import Judge, Row
from recast.verification import certificate

if TYPE_CHECKING:
    from recast.measure.data import Samples

Arrays = dict[str, Any]
Told = tuple[dict[str, Any], Arrays]


class Session:
    """Answers the calls of an engine (``_util/child``). ``options["job"]`` is ``Job.told()``."""

    inputs: ClassVar[list[TensorSpec]] = []
    outputs: ClassVar[list[TensorSpec]] = []

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        self._job = Job.of(options["job"])
        self._ends = ExitStack()
        self._ends.enter_context(child.pool())  # runtimes stay loaded from trial to trial
        self._original: tuple[Path, Samples] | None = None
        self._made: compressing.Data | None = None

    def close(self) -> None:
        """End the runtimes that are kept."""
        self._ends.close()

    def _data(self) -> compressing.Data:
        """The samples, loaded or made once: every trial looks at the same."""
        if self._made is None:
            self._made = compressing.data_of(self._job.source, self._job.untimed)
        return self._made

    def run(self, feeds: Arrays) -> Arrays:
        """Nothing is run as a model here."""
        raise InternalError("a worker of the search was called as a model")

    def trial(self, feeds: Arrays, steps: list[dict[str, Any]], folder: str) -> Told:
        """Compress by a recipe into ``folder``: what came out, without its speed.

        ``files``: paths, the main file first, the certificate last; none where the recipe was refused.
        """
        target = Path(folder) / self._job.target
        target.parent.mkdir(parents=True, exist_ok=True)
        told: dict[str, Any] = {"files": [], "comparison": None, "refused": "", "digest": ""}
        try:
            made = compressing.compress(self._job.source, target, steps_of(steps), self._job.untimed, self._data())
        except RecastError as error:
            return told | {"refused": f"[{error.code}] {error.what}"}, {}
        except Exception as error:  # one recipe's defect is told and does not end the search
            return told | {"refused": f"[{InternalError.code}] {type(error).__name__}: {str(error)[:300]}"}, {}
        if made.comparison is None:
            return told | {"refused": made.reasons[0] if made.reasons else made.outcome}, {}
        files = [_named(f) for f in made.files]
        told |= {"digest": digest_of(files[0]), "comparison": asdict(made.comparison)}
        return told | {"files": [str(f) for f in files]}, {}

    def original(self, feeds: Arrays, folder: str) -> Told:
        """Write the source in the target's format, to be timed beside every candidate."""
        artifact, samples = compressing.write_original(
            self._job.source, Path(self._job.target), self._job.untimed, Path(folder), self._data()
        )
        self._original = artifact.files[0], samples
        return {}, {}

    def time(self, feeds: Arrays, row: dict[str, Any], files: list[str]) -> Told:
        """Time a candidate in turns with the original: ``comparison``, with its speed."""
        if self._original is None:
            raise InternalError("the original is not there to be timed")
        old, samples = self._original
        found = Row.from_dict(row)
        compared = time_runs(found.comparison or Comparison((0, 0)), (old, Path(files[0])), samples)
        return {"comparison": asdict(compared)}, {}


def certify(files: list[Path], row: Row, limits: Limits, real: bool) -> bool:
    """Write the last word into a candidate's certificate (its speed, the verdict); whether it is accepted."""
    why = Judge(replace(limits, allow_worse=False), real).reasons(row)
    path = next(f for f in files if f.name.endswith(pipeline.CERTIFICATE))
    data = json.loads(path.read_text(encoding="utf-8"))
    outcome = ("worse, as allowed" if limits.allow_worse else "refused") if why else "accepted"
    compared = row.comparison.as_dict() if row.comparison else None
    data |= {"outcome": outcome, "reasons": why, "comparison": compared, "steps": list(row.steps)}
    path.write_text(certificate.certificate_text(certificate.plain(data)), encoding="utf-8")
    return outcome != "refused"


def _named(file: Path) -> Path:
    """The file under its own name: whether it is good is judged later."""
    if file.name.endswith(pipeline.UNVERIFIED):
        final = file.with_name(file.name.removesuffix(pipeline.UNVERIFIED))
        if final.is_dir():
            shutil.rmtree(final)
        file.rename(final)
        return final
    return file


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or of the list of a folder's files with theirs."""
    facts = certificate.file_facts(path)
    text = "".join(f"{f['name']} {f['sha256']}\n" for f in facts)
    return str(facts[0]["sha256"]) if path.is_file() else hashlib.sha256(text.encode()).hexdigest()

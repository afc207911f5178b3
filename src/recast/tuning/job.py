"""What all trials of a search share, as JSON-ready data, so that it can be sent to other processes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from recast.compressing import SYNTHETIC, Settings
from recast.compression.gate import Limits
from recast.compression.recipe import Distill, Factorize, Prune, Quantize, Step, Steps
from recast.recipe import Reading, Writing
from recast.verification.certificate import file_facts, plain

_STEPS: dict[str, type[Step]] = {"distill": Distill, "factorize": Factorize, "quantize": Quantize}


@dataclass(frozen=True)
class Job:
    """One source, one target, and how trials are compared.

    Attributes:
        source: file, folder or ``module:factory``.
        target: the name that the result will have.
        settings: as for ``compress``; the limits are the budget.
    """

    source: str
    target: str
    settings: Settings

    def told(self) -> dict[str, Any]:
        """JSON-ready; paths are absolute."""
        given, reading = self.settings, self.settings.reading
        return {
            "source": _absolute(self.source),
            "target": self.target,
            "reading": {**asdict(reading), "weights": _absolute(reading.weights), "inputs": _lists(reading.inputs)},
            "writing": asdict(given.writing),
            "limits": asdict(given.limits),
            "data": _absolute(given.data),
            "calibration": str(SYNTHETIC) if given.calibration == SYNTHETIC else _absolute(given.calibration),
            "seed": given.seed,
        }

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Job:
        """The inverse of ``told``."""
        reading = told["reading"]
        inputs = {n: tuple(s) for n, s in reading["inputs"].items()}
        settings = Settings(
            Reading(inputs, _path(reading["weights"]), reading["trust"]),
            Writing(**told["writing"]),
            _path(told["data"]),
            Limits(**told["limits"]),
            _path(told["calibration"]),
            told["seed"],
        )
        return cls(told["source"], told["target"], settings)

    @property
    def untimed(self) -> Settings:
        """The settings of a trial: speed is measured later, one candidate at a time."""
        limits = replace(self.settings.limits, slower=math.inf, latency_s=None, allow_worse=False)
        return replace(self.settings, limits=limits, writing=replace(self.settings.writing, force=True))

    @property
    def real(self) -> bool:
        """Whether results are compared on the user's samples."""
        return self.settings.data is not None or self.settings.calibration not in (None, SYNTHETIC)

    def identity(self) -> str:
        """A digest of everything that figures depend on: contents of the files, options, version; not the budget."""
        from recast import __version__

        told = {k: v for k, v in self.told().items() if k != "limits"}
        given = (self.source, self.settings.data, self.settings.calibration, self.settings.reading.weights)
        facts = [file_facts(Path(p)) for p in given if p is not None and Path(p).exists()]
        for name in ("source", "data", "calibration"):
            told[name] = Path(told[name]).name if told[name] else None
        told["reading"] = {**told["reading"], "weights": None}
        told["writing"] = {**told["writing"], "force": None}
        text = json.dumps(plain({"version": __version__, "files": facts, **told}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def steps_of(told: Sequence[Mapping[str, Any]]) -> Steps:
    """Recipe steps from their ``as_dict``."""
    return Steps(tuple(_step(s) for s in told))


def _step(told: Mapping[str, Any]) -> Step:
    if told["family"] == "prune":
        return Prune(kind=told["method"], options=dict(told["options"]))
    return _STEPS[told["family"]](kind=told["method"], options=dict(told["options"]))  # type: ignore[call-arg]


def _absolute(path: str | Path | None) -> str | None:
    """A file's full path; what is no file (a factory) as it is."""
    if path is None:
        return None
    return str(Path(path).resolve()) if Path(path).exists() else str(path)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _lists(inputs: Mapping[str, Sequence[int | str]]) -> dict[str, list[int | str]]:
    return {n: list(s) for n, s in inputs.items()}

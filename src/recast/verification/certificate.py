"""The proof as a file: ``<out>.recast.json`` says what was made from what, how it was checked, and what came out.

The same inputs give the same bytes: there are no times and no paths, only file names.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recast.verification.compare import Difference
from recast.verification.outcome import FeedRecord, Report

SCHEMA = 1


def certificate_path(output: Path) -> Path:
    """Where the certificate of an output lies."""
    return output.with_name(output.name + ".recast.json")


def certificate(
    report: Report,
    files: tuple[Iterable[Path], Iterable[Path]],
    recipe: Mapping[str, Any] | None = None,
    findings: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Everything about one verified conversion as JSON-ready data.

    Args:
        report: the verification.
        files: (inputs, outputs); folders are hashed file by file.
        recipe: what was asked for.
        findings: what readers, passes and writers reported.
    """
    from recast import __version__

    inputs, outputs = files
    data: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "tool": {"name": "recast", "version": __version__},
            "verdict": "verified" if report.passed else "failed",
            "recipe": dict(recipe or {}),
            "inputs": [d for p in inputs for d in file_facts(p)],
            "outputs": [d for p in outputs for d in file_facts(p)],
            "judges": {
                "source": report.source_runtime,
                "target": report.target_runtime,
                "float64": report.oracle,
            },
            "seed": report.seed,
            "tolerances": [t.as_dict() for _, t in sorted(report.tolerances.items())],
            "resolution": report.resolution,
            "feeds": [_feed(f, f in report.proofs) for f in report.feeds],
            "wrong": None
            if report.wrong is None
            else {"kind": report.wrong.kind, "what": report.wrong.what, "where": report.wrong.where},
            "culprit": report.culprit,
            "notes": [{"what": n.what, "where": n.where, "level": n.level} for n in report.notes],
            "findings": [dict(f) for f in findings],
        }
    )
    return data


def certificate_text(data: Mapping[str, Any]) -> str:
    """Strict JSON (no NaN), keys in a fixed order."""
    return json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def file_facts(path: Path) -> list[dict[str, Any]]:
    """Name, size and SHA-256 of a file, or of every file in a folder (names relative to it)."""
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file())
        return [_facts(p, f"{path.name}/{p.relative_to(path).as_posix()}") for p in found]
    return [_facts(path, path.name)]


def _facts(path: Path, name: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": name, "size_bytes": path.stat().st_size, "sha256": digest}


def _feed(record: FeedRecord, counts: bool) -> dict[str, Any]:
    return {
        "name": record.name,
        "counts": counts,
        "shapes": {n: list(s) for n, s in record.shapes.items()},
        "outputs": [_difference(d) for d in record.differences],
    }


def _difference(found: Difference) -> dict[str, Any]:
    data: dict[str, Any] = {
        "output": found.output,
        "accepted": found.accepted,
        "stage": found.stage,
        "max_abs": found.max_abs,
        "relative": found.relative,
        "ratio": found.ratio,
        "slack": found.slack,
    }
    if not found.accepted:
        data |= {"problem": found.problem, "index": list(found.index), "source": found.source, "target": found.target}
    return data


def plain(data: Any) -> Any:
    """JSON-ready: NumPy numbers become Python's, floats that JSON lacks become text, paths become names."""
    if isinstance(data, Mapping):
        return {str(k): plain(v) for k, v in data.items()}
    if isinstance(data, list | tuple | set | frozenset):
        return [plain(v) for v in (sorted(data, key=str) if isinstance(data, set | frozenset) else data)]
    if isinstance(data, bool | int | str) or data is None:
        return data
    if isinstance(data, Path):
        return data.name
    number = data.item() if hasattr(data, "item") else data
    if isinstance(number, float):
        return number if math.isfinite(number) else str(number)
    return number if isinstance(number, bool | int | str) else str(number)

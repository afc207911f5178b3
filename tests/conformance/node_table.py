"""What is known of the node tests: cases that a writer refuses, with the reason, and the table made of them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from .node_cases import TARGETS, cases

FOLDER = Path(__file__).with_name("coverage")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reference" / "coverage.md"
_HEAD = """\
# Operator coverage

ONNX's own node tests (onnx {version}), converted by each writer without any proof, run in the target's own runtime and
compared with the outputs that the onnx package stores: floats within rtol 1e-3 and atol 1e-5, integers and booleans
exactly. *Constant*: every input but the first is a constant, as in real models. *As given*: weights, axes and shapes
are inputs too. {total} cases are left without training, random, string, sequence, optional and preview
operators, and without bfloat16, float8, 4-bit and complex types. Everything that does not pass is refused with a coded
error. `python scripts/coverage.py --save` makes this page; the tests hold the writers to it.

"""


def forms(target: str) -> tuple[str, ...]:
    """The forms that a target is held to."""
    return ("given", "constant") if target == "torch" else ("constant",)


@cache
def load(target: str, form: str) -> dict[str, str]:
    """Refused cases and the reasons."""
    path = FOLDER / f"{target}-{form}.json"
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return known


def save(target: str, form: str, refused: dict[str, str]) -> None:
    """Keep the refused cases of one table."""
    load.cache_clear()
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(dict(sorted(refused.items())), indent=0, ensure_ascii=False) + "\n"
    (FOLDER / f"{target}-{form}.json").write_text(text, encoding="utf-8")


def tables() -> list[tuple[str, str]]:
    """The (target, form) that have been run."""
    return [(t, f) for t in TARGETS for f in forms(t) if (FOLDER / f"{t}-{f}.json").exists()]


def render() -> str:
    """The page: totals, then a row per operator."""
    import onnx

    every = cases()
    columns = {key: load(*key) for key in tables()}
    heads = [f"{t} ({'as given' if f == 'given' else f})" for t, f in columns]
    lines = [_HEAD.format(version=onnx.__version__, total=f"{len(every):,}")]
    lines.append("| writer | pass | refused |\n|---|---|---|")
    lines += [f"| {h} | {len(every) - len(c):,} | {len(c):,} |" for h, c in zip(heads, columns.values(), strict=True)]
    lines.append("\nCases that pass, by operator (the first of a case):\n")
    lines.append("| operator | cases | " + " | ".join(heads) + " |\n|---|---|" + "---|" * len(heads))
    groups: dict[str, list[str]] = {}
    for name, case in every.items():
        groups.setdefault(case.operators[0] if case.operators else "-", []).append(name)
    for operator, names in sorted(groups.items()):
        counts = [str(sum(n not in c for n in names)) for c in columns.values()]
        lines.append(f"| {operator} | {len(names)} | " + " | ".join(counts) + " |")
    return "\n".join(lines) + "\n"

"""What is known of the node tests: cases that a writer refuses, with the reason, and the table made of them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from .node_cases import READ_BACK, TARGETS, cases

BACK = "back"  # stands for the form in the tables of what is not read back
_EVERY = 4  # of the cases, besides one an operator, the suite reads this many back
FOLDER = Path(__file__).with_name("coverage")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reference" / "coverage.md"
_HEAD = """\
# Operator coverage

ONNX's own node tests (onnx {version}), converted by each writer without any proof, run in the target's own runtime and
compared with the outputs that the onnx package stores: floats within rtol 1e-3 and atol 1e-5, integers and booleans
exactly. *Constant*: every input but the first is a constant, as in real models. *As given*: weights, axes and shapes
are inputs too. {total} cases are left without training, random, string, sequence, optional and preview
operators, and without bfloat16, float8, 4-bit and complex types. Everything that does not pass is refused with a coded
error. *Read back*: the written file is read by Recast, written as `.onnx` and compared once more, by ONNX Runtime or,
where that has no kernel, by ONNX's evaluator. `python scripts/coverage.py --save` and `--back --save` make this page;
the tests hold the writers and readers to it.

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


@cache
def sampled() -> frozenset[str]:
    """The cases that the suite reads back: the first of every operator, and every fourth."""
    first: dict[str, str] = {}
    for name, case in cases().items():
        for operator in case.operators:
            first.setdefault(operator, name)
    return frozenset(first.values()) | frozenset(list(cases())[::_EVERY])


def _columns() -> dict[str, set[str]]:
    """What does not pass, by the heads of the columns."""
    columns = {f"{t} ({'as given' if f == 'given' else f})": set(load(t, f)) for t, f in tables()}
    for target in READ_BACK:
        if (FOLDER / f"{target}-{BACK}.json").exists():
            columns[f"{target} (read back)"] = columns[f"{target} (constant)"] | set(load(target, BACK))
    return columns


def render() -> str:
    """The page: totals, then a row per operator."""
    import onnx

    every = cases()
    columns = _columns()
    heads = list(columns)
    lines = [_HEAD.format(version=onnx.__version__, total=f"{len(every):,}")]
    lines.append("| writer | pass | refused |\n|---|---|---|")
    lines += [f"| {head} | {len(every) - len(c):,} | {len(c):,} |" for head, c in columns.items()]
    lines.append("\nCases that pass, by operator (the first of a case):\n")
    lines.append("| operator | cases | " + " | ".join(heads) + " |\n|---|---|" + "---|" * len(heads))
    groups: dict[str, list[str]] = {}
    for name, case in every.items():
        groups.setdefault(case.operators[0] if case.operators else "-", []).append(name)
    for operator, names in sorted(groups.items()):
        counts = [str(sum(n not in c for n in names)) for c in columns.values()]
        lines.append(f"| {operator} | {len(names)} | " + " | ".join(counts) + " |")
    return "\n".join(lines) + "\n"

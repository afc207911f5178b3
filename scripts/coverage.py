"""Run ONNX's node tests through the writers, in the targets' own runtimes, and keep what came of it.

    python scripts/coverage.py [--target tflite] [--form constant] [--only conv] [--refused] [--back] [--save]

Prints every case that does not pass and the totals. ``--back`` reads each file that is known to pass, writes it as
``.onnx`` and compares again. ``--save`` keeps the outcome in ``tests/conformance/coverage/`` (tests hold writers and
readers to it) and makes ``docs/reference/coverage.md`` from it.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
warnings.simplefilter("ignore")

from tests.conformance import node_table  # noqa: E402
from tests.conformance.node_cases import FORMS, READ_BACK, TARGETS, Result, cases, read_back, run  # noqa: E402

from recast._util.child import pool  # noqa: E402


def main() -> int:
    """Exit code 1 where a delivered file was wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", choices=TARGETS, action="append", help="default: all")
    parser.add_argument("--form", choices=FORMS, action="append", help="default: both for torch, constant for others")
    parser.add_argument("--only", default="", help="cases with this in their names")
    parser.add_argument("--refused", action="store_true", help="cases that are refused so far")
    parser.add_argument("--back", action="store_true", help="read what passes back, to .onnx, and compare again")
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--render", action="store_true", help="run nothing, make the page from what is kept")
    chosen = parser.parse_args()
    bad = 0
    if chosen.render:
        node_table.DOCUMENT.write_text(node_table.render(), encoding="utf-8")
        return 0
    for target in chosen.target or (READ_BACK if chosen.back else TARGETS):
        for form in chosen.form or (("constant",) if chosen.back else node_table.forms(target)):
            start, found = time.perf_counter(), {}
            refused = node_table.load(target, form) if chosen.back else {}  # there is no file to read
            kept = node_table.load(target, node_table.BACK if chosen.back else form)
            with pool():
                for name, case in cases().items():
                    if chosen.only in name and name not in refused and (name in kept or not chosen.refused):
                        found[name] = result = (read_back if chosen.back else run)(case, target, form)
                        if result.status != "pass":
                            print(
                                f"{target} {form} {name} [{' '.join(case.operators)}] {result.status}"
                                f"{' when read back' if result.back else ''}: {result.told}",
                                flush=True,
                            )
            counts = collections.Counter(r.status for r in found.values())
            wrong = len(found) - counts["pass"] - counts["refused"]
            bad += wrong
            print(
                f"== {target} {form}: {dict(counts)} of {len(found)} in {time.perf_counter() - start:.0f} s", flush=True
            )
            if chosen.save and not wrong:  # what is wrong is no pass
                keep(target, node_table.BACK if chosen.back else form, found)
    return int(bad > 0)


def keep(target: str, form: str, found: dict[str, Result]) -> None:
    """What does not pass, with the reason; the rest passes. Cases that were not run stay as they were."""
    back = form == node_table.BACK
    before = {n: told for n, told in node_table.load(target, form).items() if n in cases() and n not in found}
    now = {n: r.told for n, r in found.items() if r.status == "refused" and r.back == back}
    node_table.save(target, form, before | now)
    node_table.DOCUMENT.write_text(node_table.render(), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""Examine structured pruning on whole networks: with readers' entries at zero, cutting the units changes nothing.

    python scripts/examine_groups.py MODEL [MODEL …]

For each model file: the groups, the share of weights left after cutting random units of every group, and the largest
difference of the outputs (of their scale) between the cut network and the one whose readers were set to zero.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
warnings.simplefilter("ignore")

from tests.compression.test_groups import feeds, outputs, size, some, zeroed  # noqa: E402

import recast  # noqa: E402
from recast import passes  # noqa: E402
from recast.compression._method import Plan  # noqa: E402
from recast.compression.apply import apply  # noqa: E402
from recast.compression.groups import find  # noqa: E402
from recast.compression.prune.structured import PASSES  # noqa: E402

ALLOWED = 1e-3  # of the outputs' scale, float32 in ONNX Runtime: deep networks add rounding up


def examine(path: str) -> tuple[int, int, float, float]:
    """Groups, units, share of the weights left, largest difference."""
    model = recast.load(path)
    passes.run(model, PASSES, passes.PassOptions())
    rng = np.random.default_rng(7)
    groups = find(model)
    gone = some(groups, rng)
    small = apply(model, Plan("cut", tuple(groups.edits(gone))))
    given = feeds(model, rng)
    worst = 0.0
    for wanted, found in zip(outputs(zeroed(model, groups, gone), given), outputs(small, given), strict=True):
        assert wanted.shape == found.shape
        scale = float(np.abs(wanted).max()) or 1.0
        worst = max(worst, float(np.abs(found - wanted).max()) / scale)
    return len(groups.groups), sum(len(g.units) for g in groups.groups), size(small) / max(1, size(model)), worst


def main() -> int:
    """Exit code 1 where a cut changed the outputs."""
    bad = 0
    for path in sys.argv[1:]:
        groups, units, left, worst = examine(path)
        verdict = "equal" if worst <= ALLOWED and groups else "DIFFERENT" if groups else "nothing can be cut"
        bad += verdict != "equal"
        print(
            f"{Path(path).name:28s} {groups:5d} groups {units:7d} units {left:6.1%} left {worst:9.1e} {verdict}",
            flush=True,
        )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Examine the checker: plant faults in graphs and count how many it catches, and its false alarms.

    python scripts/examine_checker.py [--rounds 2]

A fault that provably changes nothing (float64 outputs bit-equal on 60 inputs) is excluded, and counted.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import onnx_ir as ir

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "verification"))
warnings.simplefilter("ignore")

from checker_faults import FAULTS  # noqa: E402
from checker_graphs import MAKERS  # noqa: E402
from checker_rewrites import REWRITES, NumpyRunner  # noqa: E402

from recast.errors import RecastError  # noqa: E402
from recast.verification.bounds import integer_bounds  # noqa: E402
from recast.verification.check import Options, Report, Side, verify  # noqa: E402
from recast.verification.feeds import FeedPlan, make_feeds  # noqa: E402
from recast.verification.local import GraphRunner  # noqa: E402
from recast.verification.oracle import Oracle, OracleUnavailable, is_quantised  # noqa: E402


def make(name: str, number: int) -> ir.Model:
    """The graph of that name; the same number gives the same weights."""
    return MAKERS[name](np.random.default_rng([zlib.crc32(name.encode()), number]))


def check(source: ir.Model, target: ir.Model, seed: int = 0, optimise: bool | None = None, threads: int = 1) -> Report:
    """Verify a target graph run by ONNX Runtime against the source graph."""
    optimise = not is_quantised(target.graph) if optimise is None else optimise
    try:
        runner = GraphRunner(target, optimise, threads)
    except RecastError as error:
        from recast.verification.outcome import Wrong

        return Report("source", "target").failed(Wrong("target", error.what))
    return verify(Side("source", None, source), Side("target", runner), Options(seed=seed))


def equivalent(a: ir.Model, b: ir.Model) -> bool:
    """Whether float64 runs are bit-equal on 60 inputs."""
    specs = GraphRunner(a, optimise=False).inputs
    try:
        one, two = Oracle(a), Oracle(b)
        for seed in range(100, 106):
            for feed in make_feeds(FeedPlan(specs, integer_bounds(a.graph), seed=seed))[:10]:
                first, second = one.run(feed.arrays), two.run(feed.arrays)
                if any(
                    not np.array_equal(x, y, equal_nan=True)
                    for x, y in zip(first.values(), second.values(), strict=True)
                ):
                    return False
    except OracleUnavailable:
        return False
    return True


def faults(rounds: int) -> tuple[int, list[str], list[str], collections.Counter[str]]:
    """Plant every fault in every graph it applies to: (planted, missed, excluded, per class)."""
    planted, missed, excluded = 0, [], []
    classes: collections.Counter[str] = collections.Counter()
    for name in MAKERS:
        for number in range(rounds):
            source = make(name, number)
            for kind, apply in FAULTS.items():
                target = make(name, number)
                rng = np.random.default_rng([zlib.crc32(kind.encode()), number])
                what = apply(target, rng)
                if what is None:
                    continue
                label = f"{name} #{number} {kind}: {what}"
                if check(source, target).passed:
                    if equivalent(source, target):
                        excluded.append(label)
                        continue
                    missed.append(label)
                planted += 1
                classes[kind] += 1
    return planted, missed, excluded, classes


def right_variants() -> tuple[int, list[str]]:
    """Correct variants of every graph: (tried, false alarms)."""
    tried, alarms = 0, []
    for name in MAKERS:
        for number in (0, 7):
            source = make(name, number)
            quantised = is_quantised(source.graph)
            for optimise, threads in ((False, 1), (True, 1), (True, 2), (False, 2)):
                if quantised and optimise:
                    continue  # fused integer kernels may saturate on processors without VNNI
                tried += 1
                report = check(source, make(name, number), seed=number + 1, optimise=optimise, threads=threads)
                if not report.passed:
                    alarms.append(f"{name} #{number} optimise={optimise} threads={threads}: {report.summary()[3:4]}")
            for seed in (0, 3):
                tried += 1
                report = verify(Side("source", None, source), Side("numpy", NumpyRunner(source)), Options(seed=seed))
                if not report.passed:
                    alarms.append(f"{name} #{number} numpy seed {seed}: {report.summary()[3:4]}")
            for kind, rewrite in REWRITES.items():
                target = make(name, number)
                if rewrite(target):
                    tried += 1
                    report = check(source, target, seed=number)
                    if not report.passed:
                        alarms.append(f"{name} #{number} {kind}: {report.summary()[3:4]}")
    return tried, alarms


def main() -> int:
    """Print the figures; status 0 when the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    start = time.time()
    planted, missed, excluded, classes = faults(rounds)
    middle = time.time()
    tried, alarms = right_variants()
    caught = planted - len(missed)
    print(
        f"{planted} faults of {len(classes)} kinds in {len(MAKERS)} graphs: "
        f"{caught} caught ({100 * caught / planted:.2f} %)"
    )
    print(f"{len(excluded)} excluded: float64 outputs are bit-equal on 60 inputs, so nothing was changed")
    for title, lines in (("excluded", excluded), ("missed", missed), ("false alarm", alarms)):
        for line in lines:
            print(f"  {title}: {line}")
    print(f"{tried} right variants: {len(alarms)} false alarms")
    print(f"{middle - start:.0f} s + {time.time() - middle:.0f} s")
    return 0 if planted >= 500 and caught >= 0.99 * planted and tried >= 300 and not alarms else 1


if __name__ == "__main__":
    sys.exit(main())

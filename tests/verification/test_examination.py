"""The checker is examined: a sample of the faults of ``scripts/examine_checker.py``, and correct variants."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from checker_faults import FAULTS
from checker_graphs import MAKERS
from checker_rewrites import REWRITES, NumpyRunner

from recast.errors import RecastError
from recast.verification.check import Side, verify
from recast.verification.local import GraphRunner
from recast.verification.oracle import is_quantised

# Faults that change nothing in that graph (proved bit-equal by the script), or less than a step of rounding.
HARMLESS = {
    ("plain_cnn", "ceil-mode"),
    ("conv3d", "count-include-pad"),
    ("lstm", "bias-halves-recurrent"),
    ("bidirectional", "bias-halves-recurrent"),
    ("cnn", "same-lower"),
    ("depthwise", "same-lower"),
}
CASES = [
    (graph, fault)
    for graph in MAKERS
    for fault in FAULTS
    if not graph.startswith(("qdq", "weight_only"))
    and (graph, fault) not in HARMLESS
    and not fault.startswith(("exponent", "sign", "mantissa", "relu-as"))
    and zlib.crc32(f"{graph}/{fault}".encode()) % 5 == 0
]


@pytest.mark.parametrize(("graph", "fault"), CASES, ids=[f"{g}-{f}" for g, f in CASES])
def test_fault_is_caught(graph: str, fault: str) -> None:
    source, target = (MAKERS[graph](np.random.default_rng(11)) for _ in range(2))
    if FAULTS[fault](target, np.random.default_rng(2)) is None:
        return  # the graph has no operator that this fault concerns
    try:
        runner = GraphRunner(target)
    except RecastError:
        return  # refused by the runtime: caught
    assert not verify(Side("a", None, source), Side("b", runner)).passed


@pytest.mark.parametrize("graph", MAKERS)
def test_right_variants_pass(graph: str) -> None:
    source = MAKERS[graph](np.random.default_rng(13))
    variants = [GraphRunner(source, optimise=False), NumpyRunner(source)]
    if not is_quantised(source.graph):
        variants.append(GraphRunner(source, threads=2))
        for rewrite in REWRITES.values():
            target = MAKERS[graph](np.random.default_rng(13))
            if rewrite(target):
                variants.append(GraphRunner(target))
    for runner in variants:
        report = verify(Side("a", None, source), Side("b", runner))
        assert report.passed, report.summary()

"""Latency of what we write against what the peers write from the same model: one thread, interleaved, median.

TFLite in LiteRT against TensorFlow's converter; ONNX in ONNX Runtime against tf2onnx (goal: ratio ≤ 1.05). The two
children take short turns, and who goes first alternates; the fastest tenth is given besides the median, since it holds
still where other programs run.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _bench import child, peer, recast, rounds, save, table
from bench_speed import PEER_OF, SOURCES

from recast import formats

_RUNS = 15


def compare(mine: Path, theirs: Path, format_name: str, count: int) -> dict[str, Any]:
    """Both files in two children, turns interleaved."""
    format_ = formats.by_name(format_name)
    with format_.open(mine) as a, format_.open(theirs) as b:
        rng = np.random.default_rng(0)
        times: dict[str, list[float]] = {"recast": [], "peer": []}
        for turn in range(count):
            for name, runner in (("recast", a), ("peer", b))[:: 1 if turn % 2 else -1]:
                shape = [d if isinstance(d, int) else 1 for d in runner.inputs[0].shape]
                feeds = {runner.inputs[0].name: rng.uniform(0, 1, shape).astype(np.float32)}
                times[name] += runner.call("latency", feeds, repeats=_RUNS, warmup=3)[0]
    medians = {k: statistics.median(v) for k, v in times.items()}
    fast = {k: statistics.quantiles(v, n=10)[0] for k, v in times.items()}
    return {**medians, "ratio": medians["recast"] / medians["peer"], "fast_ratio": fast["recast"] / fast["peer"]}


def main() -> None:
    """Print the table, write the JSON."""
    count = rounds(60)
    rows, data = [], []
    with tempfile.TemporaryDirectory() as name:
        for model, source in SOURCES.items():
            for suffix, other in PEER_OF.items():
                mine, theirs = Path(name) / f"{model}.{suffix}", Path(name) / f"{model}-peer.{suffix}"
                child(recast("convert", str(source), str(mine), "--no-verify", "--io-layout", "keep"))
                child(peer(other, str(source), str(theirs)))
                found = compare(mine, theirs, suffix, count)
                rows.append(
                    [model, suffix, found["recast"] * 1e3, found["peer"] * 1e3, found["ratio"], found["fast_ratio"]]
                )
                data.append({"model": model, "target": suffix, "peer_name": other, **found})
    table("latency, one thread", ["model", "format", "ms", "peer ms", "ratio", "fastest tenth"], rows)
    save("latency", data)


if __name__ == "__main__":
    main()

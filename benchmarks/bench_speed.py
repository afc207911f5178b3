"""Conversion cost against TensorFlow's converter and tf2onnx on the MLPerf Tiny Keras files.

Whole processes (CPU seconds, peak memory; interleaved, median) and inside one warm process (both sides loaded).
Recast runs here as the peers do, without verification; its cost with verification in the base install (no framework,
the graph is the reference) comes last.
"""

from __future__ import annotations

import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _bench import MODELS, base_install, child, interleaved, median_cost, peer, recast, rounds, save, table

SOURCES = {
    "resnet8": MODELS / "ic-resnet8-cifar10" / "pretrainedResnet.h5",
    "autoencoder": MODELS / "ad-autoencoder" / "ad01.h5",
    "vww": MODELS / "vww-mobilenet" / "vww_96.h5",
}
PEER_OF = {"tflite": "tflite", "onnx": "tf2onnx"}


def whole(count: int, folder: Path) -> list[dict[str, Any]]:
    """Each conversion as a process of its own."""
    found = []
    for name, source in SOURCES.items():
        for suffix, other in PEER_OF.items():
            out = str(folder / f"{name}.{suffix}")
            costs = interleaved(
                {
                    "recast": recast("convert", str(source), out, "--no-verify", "--force"),
                    "peer": peer(other, str(source), out),
                },
                count,
            )
            proved = recast("convert", str(source), out, "--force")
            costs["verified"] = median_cost([child(proved, base_install(folder)) for _ in range(count)])
            mine, theirs = costs["recast"], costs["peer"]
            ratios = {"cpu_ratio": theirs.cpu_s / mine.cpu_s, "memory_ratio": mine.peak_mb / theirs.peak_mb}
            found.append({"model": name, "target": suffix, "peer_name": other, **costs, **ratios})
    return found


def timed(run: Callable[[], Any], count: int) -> float:
    """Median CPU seconds of ``count`` calls after one to warm up (wall time would count what else runs here)."""
    run()
    gc.collect()
    gc.freeze()  # else each side pays for walking over all that the other has loaded
    times = []
    for _ in range(count):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return statistics.median(times)


def warm(count: int, folder: Path) -> list[dict[str, Any]]:
    """Both sides in this process, everything imported, file to file."""
    import peers

    import recast as ours

    unproved = ours.Recipe(writing=ours.Writing(force=True), checking=ours.Checking(verify=False))
    found = []
    for name, source in SOURCES.items():
        for suffix, other in PEER_OF.items():
            out = folder / f"{name}.{suffix}"
            mine = timed(lambda s=source, o=out: ours.convert(s, o, unproved), 5 * count)
            theirs = timed(lambda s=source, o=out, p=other: o.write_bytes(peers.PEERS[p](str(s))), count)
            found.append({"model": name, "target": suffix, "recast_s": mine, "peer_s": theirs, "ratio": theirs / mine})
    return found


def startup(count: int) -> dict[str, Any]:
    """``import recast`` and ``recast --help``."""
    return dict(interleaved({"import": [sys.executable, "-c", "import recast"], "help": recast("--help")}, 5 * count))


def main() -> None:
    """Print the tables, write the JSON."""
    count = rounds(3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start, processes, inside = startup(count), whole(count, folder), warm(count, folder)
    table("start (goal: 0.3 CPU s)", ["command", "CPU s", "MB"], [[k, c.cpu_s, c.peak_mb] for k, c in start.items()])
    rows = [
        [r["model"], r["target"], r["recast"].cpu_s, r["peer"].cpu_s, r["cpu_ratio"], r["recast"].peak_mb,
         r["peer"].peak_mb, r["memory_ratio"], r["verified"].cpu_s, r["verified"].wall_s]
        for r in processes
    ]  # fmt: skip
    columns = ["model", "to", "CPU s", "peer", "× less", "MB", "peer", "ratio", "verified: CPU s", "wall s"]
    table("whole process (goals: CPU 4× less, memory 1/3)", columns, rows)
    rows = [[r["model"], r["target"], r["recast_s"] * 1e3, r["peer_s"] * 1e3, r["ratio"]] for r in inside]
    table("warm process (goal: 50×)", ["model", "to", "CPU ms", "peer", "× less"], rows)
    save("speed", {"startup": start, "whole": processes, "warm": inside})


if __name__ == "__main__":
    main()

"""Transformers and other modules of ``tests/conformance/zoo`` to every target, verified; and how clean the graphs are.

For each network: a verdict per target with the sizes that its dynamic axes were run at, and the number of Transposes
and Reshapes in our ONNX file against ``torch.onnx.export`` (dynamo exporter, after its optimiser), in our TFLite file
against litert-torch (``--litert-python``: the Python of an environment that has it; else that column stays empty).
``--names A,B`` chooses networks, ``--targets onnx,tflite`` targets, ``--resume`` runs only what is not good yet in
``results/transformers.json``; cells of earlier runs are kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _bench import RESULTS, ROOT, save, table

sys.path.insert(0, str(ROOT))  # the zoo lies with the tests

from tests.conformance.zoo import MODELS, Model

import recast
from recast._util.child import pool
from recast.recipe import Recipe
from recast.verification.memory import Memory

TARGETS = ["onnx", "tflite", "keras", "py", "pt2", "mindir"]
COUNTED = ("Transpose", "Reshape")


def counts(path: Path) -> dict[str, int]:
    """Operators that only move data in an ONNX or TFLite file, and the number of all."""
    if path.suffix == ".onnx":
        import onnx

        kinds = Counter(n.op_type for n in onnx.load(path, load_external_data=False).graph.node)
    else:
        from recast.formats.tflite import read_file

        kinds = Counter(o.kind.capitalize() for g in read_file.load(path).subgraphs for o in g.operators)
    return {**{k: kinds[k] for k in COUNTED}, "all": kinds.total()}


def sizes(shapes: list[Mapping[str, tuple[int, ...]]], model: Model) -> dict[str, list[int]]:
    """At which sizes every dynamic axis was run; of a task, those of every input."""
    found: dict[str, set[int]] = {}
    for feed in shapes:
        for name, shape in feed.items() if model.task else ():
            if ".value" not in name and not name.startswith("past_key_values.1"):
                found.setdefault(name, set()).add(shape[2] if len(shape) == 4 else shape[1])
        for name, axes in model.dynamic.items():
            for axis, dim in axes.items():
                found.setdefault(dim, set()).add(feed[name][axis])
    return {dim: sorted(held) for dim, held in found.items()}


def converting(name: str, target: str, folder: Path, memory: Memory) -> dict[str, Any]:
    """Convert to one target and verify."""
    start = time.perf_counter()
    model, path = MODELS[name], folder / f"{name}.{target}"
    row: dict[str, Any] = {}
    try:
        result = recast.convert(model.source(name, folder), path, Recipe(model.reading()), memory)
        row["verdict"] = result.verdict
        row["convert_s"] = sum(s for k, s in result.seconds.items() if k != "verify")
        if result.report is not None:
            ran = [f for f in result.report.feeds if f.accepted]
            row |= {"inputs": len(ran), "sizes": sizes([f.shapes for f in ran], model)}
            row["told"] = result.report.summary()[2:]
            row["relative_error"] = result.report.worst.relative if result.report.worst else None
        if target in ("onnx", "tflite"):
            row["counts"] = counts(result.files[0])
    except recast.RecastError as error:
        row["verdict"] = f"refused: {error.what}"
    row["seconds"] = time.perf_counter() - start
    return row


def torch_onnx(name: str, folder: Path) -> dict[str, int]:
    """What PyTorch's own exporter writes, with the same dynamic axes (of a task: the same module and tensors)."""
    import torch

    model, path = MODELS[name], folder / "peer.onnx"
    arguments: tuple[Any, ...] = ()
    inputs: dict[str, Any] = {}
    if model.task:
        from recast.formats.torch import pretrained

        found = pretrained.load(Path(model.source(name, folder)), {}, model.task)
        module, arguments = found.module, tuple(found.examples.values())
        free: dict[str, Any] = {"tensors": tuple(found.loose.values())}
    else:
        module, inputs = model.make(), model.inputs()
        free = {n: dict.fromkeys(model.dynamic.get(n, {}), torch.export.Dim.DYNAMIC) for n in inputs}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, arguments, kwargs=inputs or None, dynamic_shapes=free, dynamo=True, verbose=False
        )
    program.save(path)
    return counts(path)


def litert_torch(name: str, path: Path, python: str) -> dict[str, int]:
    """What litert-torch writes (sizes fixed to the examples')."""
    command = [python, str(Path(__file__).with_name("litert_peer.py")), name, str(path)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return counts(path)


def peers(name: str, folder: Path, python: str) -> dict[str, Any]:
    """The peers' counts; a peer that fails is told with its reason."""
    makers = {"torch.onnx": lambda: torch_onnx(name, folder)}
    if python and not MODELS[name].task:
        makers["litert-torch"] = lambda: litert_torch(name, folder / "peer.tflite", python)
    found: dict[str, Any] = {}
    for peer, make in makers.items():
        try:
            found[peer] = make()
        except subprocess.CalledProcessError as error:
            found[peer] = "fails: " + error.stderr.decode(errors="replace").strip().rpartition("\n")[2][:200]
        except Exception as error:  # whatever a peer does with a network that it does not take
            found[peer] = f"fails: {type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
    return found


def show(cells: Mapping[str, Any]) -> None:
    """The tables."""
    rows = []
    for key, row in cells.items():
        name, _, target = key.partition(" ")
        if target != "peers":
            told = "; ".join(f"{d} {','.join(map(str, s))}" for d, s in row.get("sizes", {}).items())
            rows.append([name, target, row["verdict"][:60], row.get("inputs", ""), told, row["seconds"]])
    table("verified", ["model", "target", "verdict", "inputs", "sizes", "s"], rows)
    table("Transpose / Reshape / all operators", ["model", *(h for p in PAIRS for h in p)], list(clean(cells)))


PAIRS = (("onnx", "torch.onnx"), ("tflite", "litert-torch"))


def clean(cells: Mapping[str, Any]) -> Any:
    """A row of counts per network, ours beside the peer's."""
    for name in MODELS:
        row = [name]
        for target, peer in PAIRS:
            ours = cells.get(f"{name} {target}", {}).get("counts")
            theirs = cells.get(f"{name} peers", {}).get(peer)
            for held in (ours, theirs):
                row.append(" / ".join(map(str, held.values())) if isinstance(held, dict) else str(held or "")[:40])
        if any(row[1:]):
            yield row


def main() -> None:
    """Print a line per cell as it is done; the JSON grows with every cell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--names", default=",".join(MODELS))
    parser.add_argument("--targets", default=",".join([*TARGETS, "peers"]))
    parser.add_argument("--litert-python", default="", help="Python of an environment with litert-torch")
    parser.add_argument("--resume", action="store_true", help="leave out cells that are good in the JSON already")
    chosen = parser.parse_args()
    kept = RESULTS / "transformers.json"
    cells: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    with pool():
        for name in chosen.names.split(","):
            with Memory() as memory, tempfile.TemporaryDirectory() as folder:
                for target in chosen.targets.split(","):
                    key = f"{name} {target}"
                    if chosen.resume and cells.get(key, {}).get("verdict", "verified") == "verified" and key in cells:
                        continue
                    if target == "peers":
                        cells[key] = peers(name, Path(folder), chosen.litert_python)
                        print(f"{name:14s} peers   {cells[key]}", flush=True)
                    else:
                        cells[key] = row = converting(name, target, Path(folder), memory)
                        print(f"{name:14s} {target:7s} {row['seconds']:7.1f} s  {row['verdict']}", flush=True)
                        if row["verdict"] != "verified":
                            print(*row.get("told", ()), sep="\n", flush=True)
                    save("transformers", cells)
    show(cells)
    good = sum(row.get("verdict") == "verified" for row in cells.values())
    table("all", ["cells", "verified"], [[sum("verdict" in row for row in cells.values()), good]])


if __name__ == "__main__":
    main()

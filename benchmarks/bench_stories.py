"""A trained Llama (260,000 parameters, llama2.c's) with its cache in every format: the same story, the same likelihood.

Converts ``../shared/models/stories260k-llama`` (as a Hugging Face folder) with ``--task text-generation-with-past`` and
prints for each target the verdict, the mean negative log likelihood of the sample's 1,804 tokens, how many of the
greedily generated tokens (one call a token, with the cache) are the source's, and the time of a token (one sample).
``--steps N`` tokens are generated; ``--targets onnx,tflite`` chooses targets.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _bench import MODELS, ROOT, save, table

sys.path.insert(0, str(ROOT))  # the loader lies with the tests

from tests.conformance.zoo._stories import Stories

import recast
from recast import formats
from recast._util.child import pool
from recast.recipe import Reading, Recipe

TARGETS = ["onnx", "tflite", "keras", "py", "pt2", "mindir"]
TASK = "text-generation-with-past"


class InOrder:
    """A runner of a format that has other names (Keras knows no dots): arrays go in and come out by their places."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once."""
        own = [spec.name for spec in self._runner.inputs]
        said = self._runner.run(dict(zip(own, feeds.values(), strict=True)))
        past = [name.replace("past_key_values", "present") for name in feeds if name.startswith("past_key_values")]
        return dict(zip(["logits", *past], (said[spec.name] for spec in self._runner.outputs), strict=True))


def measured(stories: Stories, target: Path, wanted: list[int]) -> dict[str, Any]:
    """Convert to one target; run it."""
    try:
        result = recast.convert(stories.folder, target, Recipe(Reading(task=TASK)))
    except recast.RecastError as error:
        return {"verdict": f"refused: {error.what}"}
    row: dict[str, Any] = {"verdict": result.verdict}
    with formats.of_file(target).open(target) as opened:
        runner = InOrder(opened)
        start = time.perf_counter()
        told = stories.generate(runner, len(wanted))
        row["token_s"] = (time.perf_counter() - start) / len(wanted)
        row["same"] = sum(a == b for a, b in zip(told, wanted, strict=True))
        row["nll"] = stories.nll(runner)
    return row


def main() -> None:
    """Print a line per target; JSON beside."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--steps", type=int, default=200)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, pool():
        stories = Stories(MODELS / "stories260k-llama", Path(place))
        wanted = stories.generated(chosen.steps)
        rows: dict[str, Any] = {"source": {"nll": stories.nll_of_source(), "steps": chosen.steps}}
        for target in chosen.targets.split(","):
            rows[target] = measured(stories, Path(place) / f"stories.{target}", wanted)
            print(target, rows[target], flush=True)
            save("stories", rows)
    print(f"source: nll {rows['source']['nll']:.4f}")
    keys = ("verdict", "nll", "same", "token_s")
    table("stories", ["target", *keys], [[t, *(r.get(k, "") for k in keys)] for t, r in rows.items() if t != "source"])


if __name__ == "__main__":
    main()

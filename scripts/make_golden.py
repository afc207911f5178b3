"""Write the golden files: the demo network in every format that needs no framework, and its outputs.

Run it once per release and commit what changed: readers must go on reading old golden files, and a refactoring that
changes an output byte shows in ``tests/golden``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import recast
from recast import formats
from recast.demo import DATA, MODEL

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden" / "files"
NAMES = ("digits.onnx", "digits.tflite", "digits.h5", "digits.keras", "digits.py", "digits.mindir")
SAMPLES = 11


def main() -> None:
    """Convert, and keep the outputs of ONNX Runtime for the first samples."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    recipe = recast.Recipe(writing=recast.Writing(force=True), checking=recast.Checking(verify=False))
    for name in NAMES:
        recast.convert(MODEL, GOLDEN / name, recipe)
    image = np.load(DATA)["image"][:SAMPLES]
    with formats.by_name("onnx").open(GOLDEN / "digits.onnx") as runner:
        (scores,) = runner.run({"image": image}).values()
    np.savez(GOLDEN / "expected.npz", image=image, scores=scores)
    print(f"{sum(f.stat().st_size for f in GOLDEN.iterdir()):,} bytes in {GOLDEN}")


if __name__ == "__main__":
    main()

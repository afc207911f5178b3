"""How far the runtimes' float32 sums stray from float64, against their length: the basis of ``oracle.stray_units``.

    python scripts/measure_sums.py [--rounds 5]

For MatMul and Conv with n terms per sum, each runtime's worst error is divided by the worst deviation of float64 runs
whose terms are disturbed by one rounding unit: what the checker calls noise before any growth. Inputs and weights are
random with signs; once more with all terms positive, where partial sums grow.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx_ir as ir

warnings.simplefilter("ignore")

from recast import formats  # noqa: E402
from recast._util.child import pool  # noqa: E402
from recast._util.optional import have  # noqa: E402
from recast.formats._format import WriteOptions  # noqa: E402
from recast.graph.build import Builder  # noqa: E402
from recast.pipeline import prepare  # noqa: E402
from recast.recipe import Writing  # noqa: E402

LENGTHS = (16, 64, 144, 256, 576, 1152, 2304, 4608, 18432)
SUFFIX = {"onnx": "onnx", "tflite": "tflite", "torch": "py", "keras": "keras", "mindspore": "mindir"}
UNIT = 2.0**-24


def matmul(rng: np.random.Generator, terms: int, positive: bool) -> tuple[ir.Model, np.ndarray, np.ndarray]:
    """One MatMul whose sums have that many terms; its input (5, terms) and weight (terms, 31)."""
    x, w = rng.standard_normal((5, terms)).astype(np.float32), rng.standard_normal((terms, 31)).astype(np.float32)
    if positive:
        x, w = np.abs(x), np.abs(w)
    b = Builder("sums")
    out = b.op("MatMul", [b.input("x", ir.DataType.FLOAT, x.shape), b.weight("w", w)])
    b.output(out, "y")
    return b.model(), x, w


def conv(rng: np.random.Generator, terms: int, positive: bool) -> tuple[ir.Model, np.ndarray, np.ndarray]:
    """One 3x3 Conv of terms / 9 channels, written without padding; (1, channels, 7, 11) to 31 channels."""
    channels = max(1, terms // 9)
    x = rng.standard_normal((1, channels, 7, 11)).astype(np.float32)
    w = rng.standard_normal((31, channels, 3, 3)).astype(np.float32)
    if positive:
        x, w = np.abs(x), np.abs(w)
    b = Builder("sums")
    out = b.op("Conv", [b.input("x", ir.DataType.FLOAT, x.shape), b.weight("w", w)], {"kernel_shape": [3, 3]})
    b.output(out, "y")
    return b.model(), x, w


def exact(kind: str, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The float64 result."""
    if kind == "matmul":
        return np.asarray(x @ w)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))  # n c h w kh kw
    return np.einsum("nchwij,kcij->nkhw", windows, w, optimize=True)


def disturbed(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """The array with random relative errors of one rounding unit."""
    return array * (1 + UNIT * rng.standard_normal(array.shape))


def errors(target: str, model: ir.Model, x: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Absolute errors of one runtime."""
    format_ = formats.by_name(target)
    prepare(model, format_, Writing())
    with tempfile.TemporaryDirectory() as folder:
        made = format_.write(model, Path(folder) / f"sums.{SUFFIX[target]}", WriteOptions())
        runner = format_.open(made.files[0])
        try:
            (found,) = runner.run({runner.inputs[0].name: x}).values()
        finally:
            runner.close()
    return np.abs(found.astype(np.float64) - right)


def main() -> None:
    """One row per length: the worst ratio of each runtime, of rounds times all elements."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    targets = [t for t in SUFFIX if have(formats.by_name(t).judge[0].partition(".")[0])]
    with pool():
        for kind, make in (("matmul", matmul), ("conv", conv)):
            for positive in (False, True):
                print(f"\n{kind}, {'positive' if positive else 'signed'} terms: worst error / worst one-unit noise")
                print("terms".rjust(7), *(t.rjust(10) for t in targets))
                for terms in LENGTHS:
                    worst = dict.fromkeys(targets, 0.0)
                    for number in range(rounds):
                        rng = np.random.default_rng([terms, number, positive])
                        _, x, w = make(rng, terms, positive)
                        right = exact(kind, x.astype(np.float64), w.astype(np.float64))
                        runs = [exact(kind, disturbed(rng, x), disturbed(rng, w)) for _ in range(3)]
                        noise = max(float(np.abs(r - right).max()) for r in runs)
                        for target in targets:
                            model, x, _ = make(np.random.default_rng([terms, number, positive]), terms, positive)
                            worst[target] = max(worst[target], float(errors(target, model, x, right).max()) / noise)
                    print(str(terms).rjust(7), *(f"{worst[t]:10.2f}" for t in targets), flush=True)


if __name__ == "__main__":
    main()

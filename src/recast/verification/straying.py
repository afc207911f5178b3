"""How far a correct runtime's rounding strays from float64: the disturbance of the oracle's noise runs.

Long sums are the larger part. A sum of n products added one after another gathers a rounding error of every partial
sum S_k: u·sqrt(Σ S_k²)/√3 in the mean (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 4.2).
Terms of random sign give partial sums like √k, so √(n/6) times the rounding of the terms alone; terms with a drift
give partial sums like y·k/n, so a relative error of √n/3 units of the result y. ``scripts/measure_sums.py`` measures
the runtimes: LiteRT and MindSpore do add one after another (signed terms: 57 times the terms' rounding at n = 18,432,
positive ones: 2,520 times), the others in blocks. A quarter of both is put in here; the tolerance's factor does the
rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import onnx_ir as ir

from recast.graph.view import attr
from recast.verification.tolerances import ROUGH_UNITS

_APPROXIMATED = frozenset(("Sigmoid", "Erf", "Gelu", "Swish", "Softplus", "Mish"))
_REDUCING = frozenset((
    "ReduceSum", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp",
    "GlobalAveragePool", "AveragePool",
))  # fmt: skip
_POOL = 1_048_573  # a prime: no axis of a tensor has its period


def growth(terms: int) -> float:
    """Units of rounding that a sum of that many terms is disturbed by."""
    return max(1.0, math.sqrt(terms) / 12)


def weight_terms(shape: tuple[int, ...]) -> int:
    """Terms of the sums over a weight: its size without its largest outer dimension."""
    if len(shape) < 2 or not math.prod(shape):
        return 1
    return math.prod(shape) // max(shape[0], shape[-1])


def sum_terms(node: ir.Node, inputs: Sequence[np.ndarray | None], output: np.ndarray) -> int:
    """Terms of each sum that a node computed; 1 where it adds nothing up."""
    first = inputs[0] if inputs else None
    second = inputs[1] if len(inputs) > 1 else None
    if first is None or not output.size:
        return 1
    if node.op_type in _REDUCING:
        if node.op_type == "AveragePool":
            return math.prod(attr(node, "kernel_shape", ()) or (1,))
        return max(1, int(first.size // output.size))
    if second is None:
        return 1
    if node.op_type == "MatMul":
        return int(first.shape[-1]) if first.ndim else 1
    if node.op_type == "Gemm":
        return int(first.shape[0 if attr(node, "transA", 0) else -1])
    if node.op_type == "Conv":
        return int(second.size // max(1, second.shape[0]))
    if node.op_type == "ConvTranspose":
        return int(second.size // max(1, second.shape[1]))
    return 1


def disturbed(array: np.ndarray, unit: float | None, rng: np.random.Generator | None, op_type: str = "") -> np.ndarray:
    """The array with random relative errors of one rounding unit (None: exact).

    Functions that runtimes approximate around a constant get an absolute error of that size.
    """
    if unit is None or rng is None or array.dtype != np.float64 or array.size <= 1:
        return array
    error = _normal(rng, array.size).reshape(array.shape) * (unit * ROUGH_UNITS.get(op_type, 1.0))
    error *= np.maximum(np.abs(array), 1.0) if op_type in _APPROXIMATED else array
    error += array
    return error


@cache
def _pool() -> np.ndarray:
    return np.random.default_rng(11).standard_normal(_POOL)


def _normal(rng: np.random.Generator, count: int) -> np.ndarray:
    """Standard normal numbers from a pool that is entered at random: making them anew takes longer than the run."""
    pool = _pool()
    start = int(rng.integers(max(1, _POOL - count)))
    return pool[start : start + count] if count <= _POOL else np.resize(np.roll(pool, -int(rng.integers(_POOL))), count)

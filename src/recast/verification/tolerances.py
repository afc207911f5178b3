"""The one table of tolerances: by element type, each with its reason and the canary fault that must fail it.

Float rule. ``u`` is the rounding unit of the type, ``L`` the *local scale* of an element (``compare.local_max``).
1. tight: every ``|target - source| <= tight * u * L`` is accepted at once.
2. Otherwise the graph is run in float64 (``exact``) and as correct low-precision runtimes would run it (``noise``):
   source and target must both stay within ``factor * max(local(noise), floor * u * L)`` of the float64 values,
   the target also within ``factor`` times the source's own error.
3. Where no float64 run is possible: ``|target - source| <= blind * u * L``, and the report says so.
A network may amplify rounding so much that rule 2 allows errors of the size of the outputs: such a run is ``weak``, is
not counted, and without two runs that count nothing is proved (canary: a chaotic map, ``tests/.../test_evidence.py``).

Quantised graphs use the same rule in steps, with the noise taken from float64 runs whose roundings are jittered.
Basis: on the int8 networks of MLPerf Tiny, LiteRT's default kernels equal the float64 QDQ run on nearly every input,
its other kernels differ as much as a jitter of 0.02 step does. Limit: in a deep int8 network a fault smaller than
that (one int8 weight, one scale by 1 %) cannot be told from a runtime's own choice of rounding.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """One entry. ``tight``, ``floor`` and ``blind`` are multiples of ``unit`` times the local scale.

    ``weak``: a run in which half of the elements may be off by more than this part of their scale proves too little
    to count (``evidence``).
    """

    name: str
    unit: float
    tight: float
    floor: float
    factor: float
    blind: float
    weak: float
    reason: str
    canary: str

    def as_dict(self) -> dict[str, object]:
        """The entry as JSON-ready data."""
        return {
            "name": self.name,
            "unit": self.unit,
            "tight": self.tight,
            "floor": self.floor,
            "factor": self.factor,
            "blind": self.blind,
            "weak": self.weak,
            "reason": self.reason,
        }


EXACT = Tolerance(
    "exact",
    0.0,
    0.0,
    0.0,
    0.0,
    0.0,
    0.0,
    "integers and booleans have no rounding; an index may differ only where float64 shows a tie",
    "integer-off-by-one",
)

TABLE: dict[str, Tolerance] = {
    t.name: t
    for t in (
        Tolerance(
            "float64",
            2.0**-53,
            64,
            32,
            64,
            65536,
            0.02,
            "the float64 run has the same precision as the source, so only summation order may differ",
            "float32-weights",
        ),
        Tolerance(
            "float32",
            2.0**-24,
            8,
            8,
            8,
            512,
            0.02,
            "runtimes sum in different orders and approximate exp, tanh and erf to a few units in the last place; "
            "what depth and cancellation add is measured as noise on the same feed",
            "batchnorm-epsilon",
        ),
        Tolerance(
            "float16",
            2.0**-11,
            4,
            1,
            4,
            64,
            0.1,
            "runtimes compute in float32 and round some or all intermediate values to 11 bits",
            "bias-missing",
        ),
        Tolerance(
            "bfloat16",
            2.0**-8,
            4,
            1,
            4,
            32,
            0.3,
            "as float16, with 8 bits",
            "bias-missing",
        ),
        Tolerance(
            "quantised",
            1.0,
            0.0,
            0.0,
            2,
            2,
            0.2,
            "a value between two steps may be rounded either way, and such flips spread through later layers; "
            "how far they spread is measured by jittering the roundings of the float64 run",
            "zero-point-off-by-one",
        ),
        EXACT,
    )
}

# Errors below this are never counted: runtimes may flush denormal numbers, also inside.
LEAST = {"float64": 1e-290, "float32": 1e-30, "float16": 1e-6, "bfloat16": 1e-30}

# Operators that runtimes compute much more roughly than to one unit (ONNX Runtime's LRN: 5.7e-5 relative, measured).
ROUGH_UNITS = {"LRN": 256.0}

# Quantised graphs: half-width, in steps, of the jitter added before each rounding of the float64 run.
JITTER_STEPS = 0.02
JITTER_RUNS = 8
DISTURBED_RUNS = 3  # float graphs: float64 runs with random relative errors of one rounding unit at every value
LARGEST_OF_THREE = 1.326  # the largest of three normal deviates, in standard deviations, in the mean
CAREFUL_RUNS = 16  # where the first runs refuse by no more than this many times what they allow, the noise is
DOUBTFUL = 8.0  # measured again, without a change of its mean
FREE_FRACTION = 0.01  # mean error, in steps, that needs no explanation


def for_dtype(dtype: str) -> Tolerance:
    """The entry for a NumPy dtype name; integers, booleans and everything unknown are exact."""
    return TABLE.get(dtype, EXACT)

"""Reads seeded mutants of one model file in this process and prints one JSON line. Started by ``test_mutants.py``.

Every mutant must read, or end in a ``RecastError``; anything else is listed with its seed so that it can be made again.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

import recast
from recast.errors import InternalError


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Truncate, flip bits, overwrite a length with a huge number, cut a piece out, or repeat one."""
    out = bytearray(data)
    kind = rng.integers(6)
    at = int(rng.integers(len(out)))
    if kind == 0:
        del out[at:]
    elif kind == 1:
        for _ in range(int(rng.integers(1, 9))):
            out[int(rng.integers(len(out)))] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        out[at : at + 4] = b"\xff\xff\xff\x7f"
    elif kind == 3:
        out[at : at + 8] = (1 << 62).to_bytes(8, "little")
    elif kind == 4:
        del out[at : at + int(rng.integers(1, 64))]
    else:
        out[at:at] = out[at : at + int(rng.integers(1, 64))]
    near = int(rng.integers(1, min(len(out), 512) + 1)) if len(out) else 0
    if rng.random() < 0.5 and near:  # headers are where a parser decides
        out[int(rng.integers(near))] ^= 1 << int(rng.integers(8))
    return bytes(out) or b"\0"


def peak_mb() -> float:
    """Peak memory of this process; ``ru_maxrss`` would begin with that of the process it was forked from."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """``mutants.py FILE COUNT FOLDER``."""
    source, count, folder = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    data = source.read_bytes()
    result = {"read": 0, "refused": 0, "odd": [], "slowest_s": 0.0}
    for seed in range(count):
        path = folder / f"mutant{source.suffix}"
        path.write_bytes(mutate(data, np.random.default_rng([seed, len(data)])))
        start = time.perf_counter()
        try:
            recast.load(path)
            result["read"] += 1
        except InternalError as error:
            result["odd"].append([seed, str(error)])
        except recast.RecastError:
            result["refused"] += 1
        except BaseException as error:
            result["odd"].append([seed, f"{type(error).__name__}: {str(error)[:200]}"])
        result["slowest_s"] = max(result["slowest_s"], time.perf_counter() - start)
    result["peak_mb"] = peak_mb()
    print(json.dumps(result))


if __name__ == "__main__":
    main()

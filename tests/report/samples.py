"""Reports of made-up models, so that every section has something to show."""

from __future__ import annotations

from typing import Any

EVIL = '<script>alert("x")</script>&"\'.tflite'


def interval(value: float, half: float = 0.05) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def model(name: str, size: int, good: float, confusion: list[list[int]], first: bool = False) -> dict[str, Any]:
    layers = [
        {"name": n if first else f"model/{n}", "macs": 900 * i, "parameters": 70 * i, "weight_bytes": size // i}
        for i, n in enumerate(("conv", "dense"), 1)
    ]
    versus = {
        "agreement": interval(0.93), "difference": interval(-0.02), "mcnemar_p": 0.125, "worst_class": [1, -0.25],
        "relative_rms": 0.083, "cosine": 0.9931, "largest": "inf",
    }  # fmt: skip
    times = {"median_s": size * 1e-8, "p95_s": size * 2e-8, "fast_s": size * 0.9e-8, "runs": 400}
    return {
        "name": name, "format": "tflite", "runtime": "ai_edge_litert 2.3.0",
        "size": {"file_bytes": size, "zipped_bytes": size // 2, "weight_bytes": size - 99},
        "memory": {"runtime_bytes": 40_000_000, "peak_bytes": 43_000_000},
        "parameters": {"total": 210, "nonzero": 105, "bytes": size - 99},
        "cost": {"macs": 2700, "layers": layers, "unknown": [] if first else ["Loop (rnn): its body is counted once"]},
        "score": {"metric": "accuracy", "figure": interval(good), "per_class": {"0": 1.0, "1": 0.5}},
        "confusion": confusion, "versus": None if first else versus,
        "latency": {"1": times, "2": times},
    }  # fmt: skip


def evaluation() -> dict[str, Any]:
    """An evaluation of three models, one with a hostile name."""
    return {
        "recast": "0.1.0", "kind": "evaluation",
        "data": {"file": "val.npz", "samples": 9, "real": True, "labels": 9, "task": "classes", "metric": "accuracy",
                 "classes": ["cat", "dog"]},
        "machine": {"system": "Linux", "processor": "a processor", "threads": 2},
        "models": [
            model("net.h5", 400_000, 0.9, [[5, 0], [1, 3]], first=True),
            model("small.tflite", 90_000, 0.85, [[4, 1], [1, 3]]),
            model(EVIL, 200_000, 0.8, [[5, 0], [1, 3]]),
        ],
        "findings": [{"what": "something was left out", "where": "layer rnn", "level": "warning"}],
    }  # fmt: skip

"""litert-torch, run by the Python of its own environment: ``litert_peer.py MODEL OUT.tflite``; sizes are fixed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "src")]

if __name__ == "__main__":
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):  # one that does not fit the environment's torch; none of the networks needs it
        sys.modules["torchvision"] = None  # type: ignore[assignment]
    import litert_torch
    from tests.conformance.zoo import MODELS

    model = MODELS[sys.argv[1]]
    edge = litert_torch.convert(model.make(), sample_kwargs=model.inputs())
    edge.export(sys.argv[2])

"""Google's litert-torch: PyTorch modules to TFLite."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recast.routes.child.job import Job

TITLE = "litert-torch (Google AI Edge)"
TOOL = "litert-torch"
PACKAGES = ("litert-torch==0.10.0", "torch==2.13.0", "torchvision==0.28.0")
NEEDS = ("torch", "litert_torch")
EDGES = (("torch", "tflite"),)
OPTIONS = ("inputs",)


def convert(job: Job) -> list[str]:
    """See ``tools/__init__.py``."""
    source: Any = job.source_model()
    tool: Any = importlib.import_module("litert_torch")
    fixed = [name for name, _, shape in source.inputs if any(not isinstance(d, int) for d in shape)]
    tool.convert(source.model, source.examples()).export(job.target)
    return [f"dynamic dimensions of {', '.join(fixed)} became fixed"] if fixed else []

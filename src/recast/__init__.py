"""Recast: convert neural networks between frameworks, make them smaller, and prove what was done.

>>> import recast
>>> result = recast.convert("model.h5", "model.tflite")
>>> result.passed
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from recast.compressing import Compression, Settings, compress
    from recast.compression.gate import Limits
    from recast.compression.recipe import Distill, Factorize, Prune, Quantize
    from recast.errors import RecastError
    from recast.evaluating import Measuring, evaluate
    from recast.formats.torch.read import from_torch
    from recast.pipeline import Conversion, inspect, load, save, verify
    from recast.recipe import Checking, Reading, Recipe, Writing
    from recast.report.document import Report
    from recast.routes import convert
    from recast.routes.through import Via
    from recast.tuning.outcome import Tuned
    from recast.tuning.search import Tuning, tune

_HOMES = {
    "compressing": ("Compression", "Settings", "compress"),
    "compression.gate": ("Limits",),
    "compression.recipe": ("Distill", "Factorize", "Prune", "Quantize"),
    "pipeline": ("Conversion", "inspect", "load", "save", "verify"),
    "routes": ("convert",),
    "routes.through": ("Via",),
    "recipe": ("Checking", "Reading", "Recipe", "Writing"),
    "evaluating": ("Measuring", "evaluate"),
    "report.document": ("Report",),
    "tuning.outcome": ("Tuned",),
    "tuning.search": ("Tuning", "tune"),
    "errors": ("RecastError",),
    "formats.torch.read": ("from_torch",),
}

__all__ = [
    "Checking",
    "Compression",
    "Conversion",
    "Distill",
    "Factorize",
    "Limits",
    "Measuring",
    "Prune",
    "Quantize",
    "Reading",
    "RecastError",
    "Recipe",
    "Report",
    "Settings",
    "Tuned",
    "Tuning",
    "Via",
    "Writing",
    "compress",
    "convert",
    "evaluate",
    "from_torch",
    "inspect",
    "load",
    "save",
    "tune",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Load a public name where it is first used: ``import recast`` alone costs nothing."""
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"recast.{module}"), name)
    raise AttributeError(f"module 'recast' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""Small networks with the real structure of well-known ones and seeded random weights, as PyTorch modules.

Every file of this folder without an underscore has ``MODELS``; ``MODELS`` here holds them all. Each name is a factory
too, so that ``recast.convert("tests.conformance.zoo:bert", ...)`` finds it. Nothing heavy is imported before a model
is made.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recast.recipe import Reading


@dataclass(frozen=True)
class Model:
    """One network.

    Attributes:
        make: gives the ``nn.Module`` (eval mode, seeded weights).
        inputs: gives example tensors by the name of their parameter, in ``forward``'s order.
        dynamic: names of dynamic dimensions by input and axis.
        task: of a network of ``transformers`` that is converted from a folder; the task knows inputs and dimensions.
    """

    make: Callable[[], Any]
    inputs: Callable[[], dict[str, Any]] = dict
    dynamic: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    task: str = ""

    def source(self, name: str, folder: Path) -> str:
        """What ``recast.convert`` takes: the factory, or a folder that is made in ``folder`` if it is not there."""
        if not self.task:
            return f"{__name__}:{name}"
        place = folder / name.partition("-")[0]
        if not place.exists():
            self.make().save_pretrained(place)
        return str(place)

    def reading(self) -> Reading:
        """The shapes of all inputs, with their dynamic dimensions, as ``recast.convert`` takes them."""
        return Reading(
            task=self.task,
            inputs={
                name: tuple(self.dynamic.get(name, {}).get(axis, int(size)) for axis, size in enumerate(tensor.shape))
                for name, tensor in self.inputs().items()
            },
        )


def seeded(build: Callable[[Any], Any]) -> Callable[[], Any]:
    """A module with random weights in which nothing is zero or one by habit: biases, norms and scales count too."""

    def make() -> Any:
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        torch.manual_seed(0)
        module = build(transformers).eval()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in module.parameters():
                spread = 0.3 if parameter.dim() < 2 else (1.0 / parameter[0].numel()) ** 0.5
                parameter.add_(torch.randn(parameter.shape, generator=generator) * spread)
        return module

    return make


def _all() -> dict[str, Model]:
    found: dict[str, Model] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            found |= importlib.import_module(f"{__name__}.{module.name}").MODELS
    return found


MODELS: dict[str, Model] = {}


def __getattr__(name: str) -> Callable[[], tuple[Any, tuple[Any, ...]]]:
    """The factory of a model: the module and its example inputs."""
    if name not in MODELS:
        raise AttributeError(f"the zoo has no '{name}'; it has: {', '.join(MODELS)}")
    return lambda: (MODELS[name].make(), tuple(MODELS[name].inputs().values()))


MODELS |= _all()

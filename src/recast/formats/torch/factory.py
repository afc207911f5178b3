"""The user's factory: the module that it builds, its weights, and what the module is traced with.

Needs PyTorch; runs in a child process, as part of ``capture.Session``, or in the user's own (``recast.from_torch``).
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recast._util.optional import need
from recast.errors import BadModel, BadRecipe
from recast.formats.torch.checkpoint import read_checkpoint
from recast.passes.normalise import by_name

Shape = Sequence[int | str]
HUB = "hub:"  # before a local repository of torch.hub
_SIZES = (2, 3, 5, 7, 11, 13, 17, 19)  # of dynamic dimensions while tracing (1 would be taken for a constant)
_IMAGE = 16  # times that for the third axis and later ones


@dataclass
class Examples:
    """What a module is traced with: tensors by parameter, and ``dynamic_shapes`` for them.

    In ``dynamic`` equal names are one dimension; ``loose`` promises nothing, for networks that ask more of a
    dimension than its name says. Both are None where nothing is dynamic.
    """

    tensors: dict[str, Any]
    dynamic: dict[str, dict[int, Any]] | None = None
    loose: dict[str, dict[int, Any]] | None = None


def examples(module: Any, shapes: Mapping[str, Shape], given: Mapping[str, Any] | None = None) -> Examples:
    """Example tensors and dynamic dimensions for a module's ``forward`` from shapes by name.

    Args:
        module: an ``nn.Module``.
        shapes: by parameter; a name ``#0`` means the position, a word in a shape is a dynamic dimension.
        given: the user's own examples, taken where they have that shape. Of the others, a parameter whose name says
            token ids or a mask gets int64.

    Raises:
        BadRecipe: ``forward`` has no such parameter.
    """
    torch = need("torch", "torch")
    names = _parameters(module)
    wanted = by_name(shapes, names)
    unknown = [k for k in wanted if k not in names]
    if unknown:
        raise BadRecipe(f"forward() has no parameter '{unknown[0]}'", fix=f"its parameters: {', '.join(names)}")
    generator = torch.Generator().manual_seed(0)
    found = Examples(dict(given or {}))
    if not wanted:
        return found
    found.dynamic, found.loose = {}, {}
    dims = dict[str, Any]()
    sizes = {
        d: int(found.tensors[n].shape[i])
        for n, shape in wanted.items()
        if n in found.tensors and _fits(found.tensors[n], shape)
        for i, d in enumerate(shape)
        if isinstance(d, str)
    }
    for name in [n for n in names if n in wanted]:
        shape, tensor = wanted[name], found.tensors.get(name)
        if tensor is None or not _fits(tensor, shape):
            numbers = [_size(d, sizes, axis) if isinstance(d, str) else d for axis, d in enumerate(shape)]
            found.tensors[name] = _example(torch, name, numbers, generator)
        words = {i: d for i, d in enumerate(shape) if isinstance(d, str)}
        found.dynamic[name] = {i: dims.setdefault(d, torch.export.Dim(d)) for i, d in words.items()}
        found.loose[name] = dict.fromkeys(words, torch.export.Dim.DYNAMIC)
    found.tensors = {n: found.tensors[n] for n in names if n in found.tensors}
    for name in found.tensors:
        found.dynamic.setdefault(name, {})
        found.loose.setdefault(name, {})
    return found


def _parameters(module: Any) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(module.forward).parameters.values() if p.kind in kinds]


def _fits(tensor: Any, shape: Shape) -> bool:
    """Whether an example has the shape; a dynamic dimension of 1 would be taken for a constant while tracing."""
    pairs = zip(tensor.shape, shape, strict=False)
    return len(tensor.shape) == len(shape) and all(a > 1 if isinstance(b, str) else a == b for a, b in pairs)


def _size(dim: str, sizes: dict[str, int], axis: int) -> int:
    """A size to trace a dynamic dimension with: none is 1, none equals another; images are not tiny."""
    return sizes.setdefault(dim, _SIZES[len(sizes) % len(_SIZES)] * (_IMAGE if axis > 1 else 1))


def _example(torch: Any, name: str, sizes: list[int], generator: Any) -> Any:
    if name in ("input_ids", "token_ids", "tokens", "ids", "position_ids", "token_type_ids", "attention_mask"):
        return torch.ones(sizes, dtype=torch.int64)
    return torch.randn(sizes, generator=generator)


def build(reference: str) -> tuple[Any, dict[str, Any]]:
    """Call the user's factory ``package.module:factory``, ``file.py:factory``, or ``hub:DIR:entry`` (``hubconf.py``).

    It may return a module, or a module and its example inputs: a tensor, a tuple in the order of ``forward``'s
    parameters, or a dictionary by parameter.

    Returns:
        The module, and its example inputs by parameter (none were given: empty).

    Raises:
        BadRecipe: it cannot be imported, or returns something else.
    """
    torch = need("torch", "torch")
    place, _, name = reference.rpartition(":")
    try:
        if place.startswith(HUB):
            made = torch.hub.load(place.removeprefix(HUB), name, source="local")
        else:
            factory = getattr(_module(place), name)
            made = factory if isinstance(factory, torch.nn.Module) else factory()
    except Exception as error:
        raise BadRecipe(
            f"{reference} failed: {type(error).__name__}: {str(error)[:300]}",
            fix="name an importable function or class without required arguments that returns an nn.Module",
        ) from error
    given: Any = ()
    if isinstance(made, tuple) and len(made) == 2:
        made, given = made
    if not isinstance(made, torch.nn.Module):
        raise BadRecipe(f"{reference} gives a {type(made).__name__}, not an nn.Module", fix="return the module itself")
    return made.eval(), by_parameter(made, given)


def by_parameter(module: Any, given: Any) -> dict[str, Any]:
    """Example inputs by the name of their parameter: given as a tensor, a tuple or a dictionary.

    Raises:
        BadRecipe: ``forward`` takes fewer, or has no such parameter.
    """
    names = _parameters(module)
    if isinstance(given, Mapping):
        unknown = [k for k in given if k not in names]
        if unknown:
            raise BadRecipe(f"forward() has no parameter '{unknown[0]}'", fix=f"its parameters: {', '.join(names)}")
        return dict(given)
    tensors = tuple(given) if isinstance(given, tuple | list) else (given,)
    if len(tensors) > len(names) and not _takes_any(module):
        raise BadRecipe(f"forward() takes {len(names)} tensors, not {len(tensors)}", fix=", ".join(names))
    names += [f"input_{i}" for i in range(len(names), len(tensors))]
    return dict(zip(names, tensors, strict=False))


def keywords(module: Any, names: Sequence[str]) -> list[str]:
    """The names if the tensors can be given by them, else nothing: then they go in order."""
    return list(names) if set(names) <= set(_parameters(module)) and not _takes_any(module) else []


def _takes_any(module: Any) -> bool:
    """Whether ``forward`` has ``*args``, or parameters without a name."""
    kinds = {p.kind for p in inspect.signature(module.forward).parameters.values()}
    return bool(kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY})


def _module(place: str) -> Any:
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        if spec is None or spec.loader is None:
            raise ImportError(place)
        module = importlib.util.module_from_spec(spec)
        sys.modules[Path(place).stem] = module
        spec.loader.exec_module(module)
        return module
    sys.path.insert(0, os.getcwd())
    return importlib.import_module(place)


def load_weights(module: Any, path: Path) -> None:
    """Load a checkpoint into a module, name by name.

    Raises:
        BadModel: names or shapes differ (all differences are listed).
    """
    torch = need("torch", "torch")
    tensors, _ = read_checkpoint(path)
    state = {name: torch.from_numpy(np.array(t.numpy())) for name, t in tensors.items()}
    if all(name.startswith("module.") for name in state):  # saved from DataParallel
        state = {name.removeprefix("module."): t for name, t in state.items()}
    wanted = module.state_dict()
    missing = [n for n in wanted if n not in state and not n.endswith("num_batches_tracked")]
    surplus = [n for n in state if n not in wanted]
    shapes = [n for n in state if n in wanted and state[n].shape != wanted[n].shape]
    if missing or surplus or shapes:
        parts = [("missing", missing), ("not in the module", surplus), ("other shape", shapes)]
        text = "; ".join(f"{len(n)} {what}: {', '.join(n[:5])}" for what, n in parts if n)
        raise BadModel(f"the weights do not fit the module: {text}", str(path), "name the factory that made this file")
    module.load_state_dict(state, strict=False)

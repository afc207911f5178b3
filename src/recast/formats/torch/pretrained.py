"""Hugging Face folders (``config.json`` + safetensors): the module, example inputs, names of dynamic dimensions.

The architecture is one of ``transformers``' own classes, the weights are inert: no code comes from the folder. Needs
the extra ``transformers``; runs in a child process, as part of ``capture.Session``.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recast._util.child import TensorSpec
from recast._util.optional import need
from recast.errors import BadModel, BadRecipe
from recast.formats.torch import tasks
from recast.graph import dims
from recast.passes.normalise import by_name

_SIZES = (3, 5, 7, 11, 13, 17, 19, 23)  # of dynamic dimensions while tracing: none is 1, none equals another
_SAMPLES = 4001  # of sound while tracing: more than any front end's window
_IMAGE = 224  # of networks whose configuration names no size
Shape = Sequence[int | str]


@dataclass
class Pretrained:
    """A module in eval mode with what it takes: ``inputs`` (a ``str`` in a shape is dynamic) and examples by name.

    ``dynamic`` are ``dynamic_shapes`` in which equal names are one dimension; ``loose`` ones promise nothing, for
    networks that ask more of a dimension than its name says. ``by_name``: whether ``forward`` is called by names.
    """

    module: Any
    inputs: list[TensorSpec]
    examples: dict[str, Any]
    dynamic: dict[str, dict[int, Any]]
    loose: dict[str, dict[int, Any]]
    by_name: bool = True


def load(folder: Path, shapes: Mapping[str, Shape], task: str = "") -> Pretrained:
    """Load a folder.

    Args:
        folder: with ``config.json`` and ``*.safetensors``.
        shapes: inputs by name (or ``#position``) that replace or join the usual ones; a word is a dynamic dimension.
        task: a part of the network or a way to use it (``tasks.TASKS``); "": the whole network without a cache.

    Raises:
        MissingDependency: ``transformers`` is not installed.
        BadModel: the folder does not load.
        BadRecipe: ``forward`` has no such input, or the network is not made for the task.
    """
    transformers, torch = need("transformers", "transformers"), need("torch", "torch")
    module = _load(transformers, folder)
    if task:
        found = tasks.prepare(torch, transformers, module, task)
        wanted: dict[str, Shape] = dict(found.inputs)
        known: Sequence[str] = list(wanted)
    else:
        known = [n for n in inspect.signature(module.forward).parameters if n not in ("args", "kwargs")]
        wanted = _usual(module, known)
    for key, shape in by_name(shapes, list(wanted)).items():
        if key not in known:
            raise BadRecipe(f"{type(module).__name__} has no input '{key}'", str(folder), f"it has: {', '.join(known)}")
        wanted[key] = shape
    return _traced(torch, module, wanted, not task)


def _traced(torch: Any, module: Any, wanted: Mapping[str, Shape], by_name: bool) -> Pretrained:
    """Example tensors for these inputs, and which dimensions stay dynamic."""
    generator = torch.Generator().manual_seed(0)
    words = dims.names(d for shape in wanted.values() for d in shape)
    sizes = {word: _SIZES[i % len(_SIZES)] for i, word in enumerate(words)} | {"samples": _SAMPLES}
    free = torch.export.Dim.DYNAMIC
    named = {word: torch.export.Dim(word, max=_most(module, word)) for word in words if word.isidentifier()}
    examples: dict[str, Any] = {}
    specs, dynamic, loose = [], dict[str, dict[int, Any]](), dict[str, dict[int, Any]]()
    for name, shape in wanted.items():
        examples[name] = _example(torch, module, name, list(dims.filled(shape, sizes)), generator)
        specs.append(TensorSpec(name, str(examples[name].dtype).removeprefix("torch."), tuple(shape)))
        dynamic[name] = {i: named.get(d, free) for i, d in enumerate(shape) if isinstance(d, str)}
        loose[name] = dict.fromkeys(dynamic[name], free)
    return Pretrained(module, specs, examples, dynamic, loose, by_name)


def _most(module: Any, dim: str) -> int | None:
    """How long a sequence may be, where the network knows its positions."""
    config = getattr(module.config, "text_config", module.config)
    names = (
        ("max_target_positions", "max_position_embeddings")
        if dim == "decoder_sequence"
        else ("max_position_embeddings",)
    )
    return next((getattr(config, n) for n in names if "sequence" in dim and getattr(config, n, None)), None)


def _load(transformers: Any, folder: Path) -> Any:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    _import_losses(transformers)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        name = next(iter(config.architectures or []), "")
        kind = getattr(transformers, name, None) or transformers.AutoModel
        module = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    except Exception as error:  # whatever is wrong with the folder, or with what transformers makes of it
        raise BadModel(
            f"transformers does not load this folder: {type(error).__name__}: {str(error)[:300]}",
            str(folder),
            "it needs config.json of an architecture of transformers itself, and safetensors",
        ) from error
    for part in module.modules():
        settings = getattr(part, "config", None)
        if settings is not None and getattr(settings, "use_cache", False):
            settings.use_cache = False
    return module


def _import_losses(transformers: Any) -> None:
    """Import the training losses without SciPy, which they alone want at import and which costs 40 MB.

    Networks that look for SciPy later find it.
    """
    forget = getattr(getattr(transformers.utils, "is_scipy_available", None), "cache_clear", None)
    if "scipy" in sys.modules or forget is None:
        return
    sys.modules["scipy"] = None  # type: ignore[assignment]  # importlib's word for: not there
    forget()
    try:
        importlib.import_module("transformers.loss.loss_utils")
    except ImportError:  # another version of transformers keeps them elsewhere; what it wants is said later
        pass
    finally:
        del sys.modules["scipy"]
        forget()


def _usual(module: Any, known: Sequence[str]) -> dict[str, Shape]:
    """The inputs that a network of this kind is used with."""
    config = module.config
    vision = getattr(config, "vision_config", config)
    side = getattr(vision, "image_size", None) or _IMAGE
    sides = list(side) if isinstance(side, list | tuple) else [side, side]
    found: dict[str, Shape] = {}
    if module.main_input_name == "input_ids":
        found = {n: ("batch", "sequence") for n in ("input_ids", "attention_mask") if n in known}
    if "pixel_values" in known:
        found["pixel_values"] = ("images" if found else "batch", getattr(vision, "num_channels", 3), *sides)
    if module.main_input_name == "input_features":
        found["input_features"] = ("batch", config.num_mel_bins, 2 * config.max_source_positions)
    if module.main_input_name == "input_values":
        found["input_values"] = ("batch", "samples")
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in known:
        found["decoder_input_ids"] = ("batch", "decoder_sequence")
    return found


def _example(torch: Any, module: Any, name: str, sizes: list[int], generator: Any) -> Any:
    if name.endswith("mask"):
        return torch.ones(sizes, dtype=torch.int64)
    if name.endswith("ids"):
        config = getattr(module.config, "text_config", module.config)
        words = 2 if name in ("token_type_ids", "position_ids") else getattr(config, "vocab_size", 2)
        return torch.randint(0, words, sizes, generator=generator)
    return torch.randn(sizes, generator=generator)

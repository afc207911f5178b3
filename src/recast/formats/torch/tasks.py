"""Which part of a Hugging Face network is wanted, with which tensors: the decoder with its cache, the encoder.

A task gives the module a ``forward`` of plain tensors, so that the caches of ``transformers`` become inputs and
outputs. The names are those of Optimum's ONNX exporter, which runtimes for generation look for:
``past_key_values.0.key``, ``present.0.key`` and, with an encoder, ``past_key_values.0.decoder.key``.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from recast.errors import BadRecipe

Shape = tuple[int | str, ...]
_MASK = "attention_mask"
_BATCH, _NEW, _PAST, _ENCODED = "batch", "sequence", "past_sequence", "encoder_sequence"
_LENGTHS = (5, 3)  # of the trial run: new steps, and what is encoded


@dataclass(frozen=True)
class Signature:
    """A module's ``forward`` that takes tensors in this order: their shapes by name (a ``str``: dynamic).

    ``ids``: the inputs that are token numbers or positions; ``masks``: those that hold 0 and 1; the others are float.
    """

    inputs: dict[str, Shape]
    ids: frozenset[str] = frozenset()
    masks: frozenset[str] = frozenset()


@dataclass
class _Parts:
    """The keys and values of a cache: a title and a cache for each kind of attention that is wanted."""

    titles: tuple[str, ...]
    lengths: tuple[str, ...]
    shapes: list[dict[str, Shape]] = field(default_factory=list)

    def names(self, head: str, titles: Sequence[str]) -> Iterator[tuple[str, str, Shape]]:
        """``past_key_values.0.decoder.key`` with its title and shape, layer by layer."""
        for number, layer in enumerate(self.shapes):
            for title in titles:
                middle = f".{title}" if title else ""
                for role in ("key", "value"):
                    yield f"{head}.{number}{middle}.{role}", title, layer[f"{title}.{role}"]


def prepare(torch: Any, transformers: Any, module: Any, task: str) -> Signature:
    """Give a module the ``forward`` of a task.

    Args:
        torch, transformers: the packages.
        module: a network of ``transformers`` in eval mode; it is changed.
        task: a key of ``TASKS``.

    Raises:
        BadRecipe: there is no such task, or the network is not made for it.
    """
    maker = TASKS.get(task)
    if maker is None:
        raise BadRecipe(f"there is no task '{task}'", fix=f"one of: {', '.join(TASKS)}")
    both = bool(getattr(module.config, "is_encoder_decoder", False))
    if both != (task != GENERATION):
        kind = "an encoder and a decoder" if both else "no encoder beside its decoder"
        fit = [t for t in TASKS if both == (t != GENERATION)]
        raise BadRecipe(f"{type(module).__name__} has {kind}: task '{task}' is not for it", fix=" or ".join(fit))
    return maker(_Net(torch, transformers, module))


class _Net:
    """A network with what its ``forward`` calls a cache."""

    def __init__(self, torch: Any, transformers: Any, module: Any) -> None:
        self.torch, self.transformers, self.module = torch, transformers, module
        self.forward: Callable[..., Any] = type(module).forward
        self.known = inspect.signature(module.forward).parameters
        self.cache = "cache" if "cache" in self.known else "past_key_values"

    def bind(self, forward: Callable[..., Any]) -> None:
        """``module(*tensors)`` calls ``forward(module, *tensors)`` from now on."""
        self.module.forward = types.MethodType(forward, self.module)

    def cache_of(self, tensors: Sequence[Any]) -> Any:
        """A cache that holds keys and values, layer by layer."""
        found = self.transformers.DynamicCache(config=self.module.config.get_text_config(decoder=True))
        for layer in range(len(tensors) // 2):
            found.update(tensors[2 * layer], tensors[2 * layer + 1], layer)
        return found

    def caches(self, result: Any, parts: _Parts) -> dict[str, Any]:
        """The caches in a result, by title."""
        held = result[self.cache]
        if len(parts.titles) == 1:
            return {parts.titles[0]: held}
        return dict(zip(parts.titles, (held.self_attention_cache, held.cross_attention_cache), strict=True))

    def measure(self, parts: _Parts, arguments: dict[str, Any]) -> None:
        """Run once without a past, to see what a cache holds.

        Raises:
            BadRecipe: no keys and values of (batch, heads, steps, size).
        """
        with self.torch.no_grad():
            result = self.forward(self.module, **arguments, use_cache=True)
        held = self.caches(result, parts) if result.get(self.cache) is not None else {}
        count = min((len(c.layers) for c in held.values()), default=0)
        for number in range(count):
            layer: dict[str, Shape] = {}
            for (title, cache), length, steps in zip(held.items(), parts.lengths, _LENGTHS, strict=False):
                for role, name in (("key", "keys"), ("value", "values")):
                    tensor = getattr(cache.layers[number], name, None)
                    if tensor is None or tensor.dim() != 4 or tensor.shape[2] != steps:
                        raise BadRecipe(
                            f"layer {number} of {type(self.module).__name__} keeps no keys and values of all steps",
                            fix="convert it without a task: every step is then computed again",
                        )
                    layer[f"{title}.{role}"] = (_BATCH, tensor.shape[1], length, tensor.shape[3])
            parts.shapes.append(layer)
        if not parts.shapes:
            raise BadRecipe(f"{type(self.module).__name__} has no cache", fix="convert it without a task")

    def present(self, result: Any, parts: _Parts, titles: Sequence[str]) -> dict[str, Any]:
        """Logits and caches by their names."""
        found = {"logits": result.logits}
        held = self.caches(result, parts)
        for name, title, _ in parts.names("present", titles):
            number, role = int(name.split(".")[1]), name.rpartition(".")[2]
            found[name] = getattr(held[title].layers[number], f"{role}s")
        return found


def _generation(net: _Net) -> Signature:
    """A decoder that continues from what it has seen: one call for the whole prompt, one for every further step."""
    torch, parts = net.torch, _Parts(("",), (_PAST,))
    net.measure(parts, {"input_ids": torch.zeros((1, _LENGTHS[0]), dtype=torch.int64)})
    inputs: dict[str, Shape] = {"input_ids": (_BATCH, _NEW), _MASK: (_BATCH, f"{_PAST} + {_NEW}")}
    if "position_ids" in net.known:
        inputs["position_ids"] = (_BATCH, _NEW)
    plain = list(inputs)

    def forward(module: Any, *tensors: Any) -> dict[str, Any]:
        named = dict(zip(plain, tensors, strict=False))
        named[net.cache] = net.cache_of(tensors[len(plain) :])
        return net.present(net.forward(module, **named, use_cache=True), parts, ("",))

    net.bind(forward)
    inputs |= {name: shape for name, _, shape in parts.names("past_key_values", ("",))}
    return Signature(inputs, frozenset({"input_ids", "position_ids"}), frozenset({_MASK}))


def _encoder(net: _Net) -> Signature:
    main, config = net.module.main_input_name, net.module.config
    if main == "input_features":
        inputs: dict[str, Shape] = {main: (_BATCH, config.num_mel_bins, 2 * config.max_source_positions)}
    else:
        inputs = {main: (_BATCH, _NEW), _MASK: (_BATCH, _NEW)}
    plain = list(inputs)

    def forward(module: Any, *tensors: Any) -> dict[str, Any]:
        result = module.get_encoder()(**dict(zip(plain, tensors, strict=True)))
        return {"last_hidden_state": result[0]}

    net.bind(forward)
    return Signature(inputs, frozenset({"input_ids"}), frozenset({_MASK}))


def _decoder(net: _Net) -> Signature:
    """The first call: what was encoded and the start; the caches of both attentions come out."""
    parts, masked = _cross(net), _takes_mask(net)
    inputs: dict[str, Shape] = {"input_ids": (_BATCH, _NEW)}
    if masked:
        inputs["encoder_attention_mask"] = (_BATCH, _ENCODED)
    inputs["encoder_hidden_states"] = (_BATCH, _ENCODED, _width(net))

    def forward(module: Any, *tensors: Any) -> dict[str, Any]:
        named = {"decoder_input_ids": tensors[0], "encoder_outputs": (tensors[-1],)}
        named |= {_MASK: tensors[1]} if masked else {}
        return net.present(net.forward(module, **named, use_cache=True), parts, parts.titles)

    net.bind(forward)
    return Signature(inputs, frozenset({"input_ids"}), frozenset({"encoder_attention_mask"}))


def _decoder_with_past(net: _Net) -> Signature:
    """Every further call: what was encoded is in the cache of the cross attention, which stays as it is."""
    parts, masked, width = _cross(net), _takes_mask(net), _width(net)
    inputs: dict[str, Shape] = {"input_ids": (_BATCH, _NEW)}
    if masked:
        inputs["encoder_attention_mask"] = (_BATCH, _ENCODED)
    start = len(inputs)

    def forward(module: Any, *tensors: Any) -> dict[str, Any]:
        past = [tensors[start + i : start + i + 2] for i in range(0, len(tensors) - start, 2)]
        own, cross = (net.cache_of([t for pair in past[k::2] for t in pair]) for k in (0, 1))
        steps = tensors[-1].shape[2]
        unread = tensors[-1].new_zeros((tensors[-1].shape[0], steps, width))
        named = {"decoder_input_ids": tensors[0], "encoder_outputs": (unread,)}
        named |= {_MASK: tensors[1]} if masked else {}
        named[net.cache] = net.transformers.EncoderDecoderCache(own, cross)
        return net.present(net.forward(module, **named, use_cache=True), parts, ("decoder",))

    net.bind(forward)
    inputs |= {name: shape for name, _, shape in parts.names("past_key_values", parts.titles)}
    return Signature(inputs, frozenset({"input_ids"}), frozenset({"encoder_attention_mask"}))


def _takes_mask(net: _Net) -> bool:
    """Whether what is encoded may be of several lengths in one batch."""
    return bool(net.module.main_input_name == "input_ids")


def _width(net: _Net) -> int:
    return int(net.module.config.hidden_size)


def _cross(net: _Net) -> _Parts:
    torch, parts = net.torch, _Parts(("decoder", "encoder"), (_PAST, _ENCODED))
    ids = torch.zeros((1, _LENGTHS[0]), dtype=torch.int64)
    encoded = torch.zeros((1, _LENGTHS[1], _width(net)))
    net.measure(parts, {"decoder_input_ids": ids, "encoder_outputs": (encoded,)})
    return parts


GENERATION = "text-generation-with-past"
TASKS: dict[str, Callable[[_Net], Signature]] = {
    GENERATION: _generation,
    "encoder": _encoder,
    "decoder": _decoder,
    "decoder-with-past": _decoder_with_past,
}

"""Inputs that tell graphs apart: at least eight kinds, from a seeded generator; a constant input is never made."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recast._util.child import TensorSpec
from recast.graph import dims

Kind = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass(frozen=True)
class Feed:
    """One run: ``name`` says what it is, ``arrays`` are keyed by input name."""

    name: str
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class FeedPlan:
    """How to make feeds.

    Args:
        inputs: names, dtypes and shapes; ``str`` dimensions are dynamic, equal names have equal sizes, sums are sums.
        bounds: for integer inputs: (lowest, highest) allowed value.
        data: real samples by input name, first axis = samples (or one sample of the input's own shape).
        seed: seed of everything.
        max_elements: total input elements allowed per feed; larger batches are left out.
        sizes: fixed sizes for dynamic dimensions by name (from the target, say).
        choices: for integer inputs: numbers that the graph compares them with; many elements are such.
    """

    inputs: Sequence[TensorSpec]
    bounds: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    data: Mapping[str, np.ndarray] = field(default_factory=dict)
    seed: int = 0
    max_elements: int = 4_000_000
    sizes: Mapping[str, int] = field(default_factory=dict)
    choices: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def index_code(shape: tuple[int, ...]) -> np.ndarray:
    """Every element says where it is: no two axes, directions or neighbours look alike. Values in about [-1, 1]."""
    total = np.zeros(shape)
    product = np.ones(shape)
    for axis, size in enumerate(shape):
        at = (np.arange(size) + 1.0) / (size + 1.0)
        line = at.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        weight = math.sqrt(axis + 2.0)
        total = total + np.sin(weight * 2.5 * line * (1 + line)) / (axis + 1.0)
        product = product * (0.5 + line)
    return np.asarray(total / max(1, len(shape)) ** 0.5 + 0.05 * product)


def _impulses(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    flat = np.zeros(math.prod(shape))
    count = max(1, flat.size // 97)
    flat[rng.choice(flat.size, count, replace=False)] = rng.uniform(0.5, 2.0, count) * rng.choice([-1, 1], count)
    if flat.size:
        flat[flat.size // 3] = 1.5
    return flat.reshape(shape)


def _smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A few slow waves along every axis, as photographs and sound have them; mean 0, values in about [-1, 1].

    A network trained on such data may turn white noise into nearly the same output every time.
    """
    total = np.zeros(shape)
    for _ in range(5):
        angle = np.full(shape, rng.uniform(0, 2 * math.pi))
        for axis, size in enumerate(shape):
            turns = rng.uniform(-2, 2) if axis else rng.uniform(-9, 9)
            angle = angle + (2 * math.pi * turns / max(2, size) * np.arange(size)).reshape(
                [-1 if a == axis else 1 for a in range(len(shape))]
            )
        total += rng.uniform(0.1, 0.5) * np.cos(angle)
    return np.asarray(total + 0.02 * rng.standard_normal(shape))


def _photo(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Smooth, in whole numbers from 0 to 255."""
    return np.clip(np.round(127.5 + 100 * _smooth(rng, shape)), 0, 255)


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.choice([-1.0, 1.0], shape) * (1 + 0.25 * index_code(shape))


FLOAT_KINDS: dict[str, Kind] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "uniform": lambda rng, shape: rng.random(shape),
    "pixels": lambda rng, shape: np.floor(rng.random(shape) * 256),
    "index": lambda _rng, shape: index_code(shape),
    "impulses": _impulses,
    "large": lambda rng, shape: 100.0 * rng.standard_normal(shape),
    "tiny": lambda rng, shape: 1e-3 * rng.standard_normal(shape),
    "signs": _signs,
    "wide": lambda rng, shape: rng.standard_normal(shape) * np.exp2(rng.uniform(-12, 6, shape)),
    "smooth": _smooth,
    "photo": _photo,
}


def _integers(kind: str, rng: np.random.Generator, shape: tuple[int, ...], bounds: tuple[int, int]) -> np.ndarray:
    low, high = bounds
    span = high - low
    if kind in ("normal", "wide", "smooth"):
        middle = rng.standard_normal(shape) * span / 6 + (low + high) / 2
        return np.clip(np.rint(middle), low, high).astype(np.int64)
    if kind == "index":
        step = max(1, span // 251)
        ramp = np.arange(math.prod(shape), dtype=np.int64).reshape(shape) * 7 * step
        return low + ramp % (span + 1)
    if kind == "impulses":
        values = np.full(shape, low, dtype=np.int64).reshape(-1)
        values[:: max(2, values.size // 7)] = high
        return values.reshape(shape)
    if kind in ("large", "signs"):
        return rng.choice(np.array([low, high], dtype=np.int64), shape)
    if kind == "tiny":
        middle_low = low + span // 2 - min(2, span // 2)
        return rng.integers(middle_low, min(high, middle_low + 4) + 1, shape, dtype=np.int64)
    return rng.integers(low, high, shape, dtype=np.int64, endpoint=True)


def make_array(
    kind: str, rng: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...], plan: FeedPlan
) -> np.ndarray:
    """One input array of the given kind, shape and the spec's dtype."""
    dtype = np.dtype(_numpy_dtype(spec.dtype))
    if dtype.kind == "b":
        return rng.random(shape) < (0.2 if kind == "impulses" else 0.5)
    if dtype.kind in "iu":
        made = _integers(kind, rng, shape, plan.bounds.get(spec.name) or default_bounds(dtype))
        choices = plan.choices.get(spec.name)
        if choices:
            made = np.where(rng.random(shape) < _CHOSEN, rng.choice(np.array(choices, np.int64), shape), made)
        return made.astype(dtype)
    return np.ascontiguousarray(FLOAT_KINDS[kind](rng, shape)).astype(dtype)


_CHOSEN = 0.6  # share of an integer input's elements that are numbers which the graph compares it with


def default_bounds(dtype: np.dtype) -> tuple[int, int]:
    """Full range for 8 bits, a wide range for 16, small numbers beyond (they are ids or counts)."""
    if dtype.itemsize <= 2:
        info = np.iinfo(dtype)
        return int(info.min), int(info.max)
    return 0, 9


def _numpy_dtype(name: str) -> np.dtype:
    if name == "bfloat16" or name.startswith(("float8", "int4", "uint4")):
        import ml_dtypes

        narrow: np.dtype = np.dtype(getattr(ml_dtypes, name))
        return narrow
    return np.dtype(name)


def _symbols(inputs: Sequence[TensorSpec]) -> tuple[list[str], list[str]]:
    """Dynamic dimensions: those that are the first axis of an input (batch), and the others."""
    batch: list[str] = []
    inner: list[str] = []
    for spec in inputs:
        for axis, dim in enumerate(spec.shape):
            for name in [n for n in dims.names([dim]) if n not in batch + inner]:
                first = axis == 0 and len(spec.shape) > 1
                (batch if first or "batch" in name.lower() else inner).append(name)
    return batch, inner


def _inner_sizes(inputs: Sequence[TensorSpec], symbol: str) -> tuple[int, ...]:
    """Three sizes to try for a dynamic axis that is not the batch; images get sizes that strides divide, and primes."""
    rank = max(len(s.shape) for s in inputs if symbol in dims.names(s.shape))
    return (64, 67, 96) if rank >= 4 else (7, 1, 13)


def _cache_sizes(inner: Sequence[str], turn: int) -> dict[str, int]:
    """Sizes for a network that is given what it has seen before: nothing, one step, many; many steps and one follow."""
    past, new = ((11, 7), (0, 13), (1, 5), (13, 1))[turn]
    return {name: past if "past" in name else new + 2 * i for i, name in enumerate(inner)}


def sizes_to_try(plan: FeedPlan) -> list[dict[str, int]]:
    """Sizes of all dynamic dimensions, one mapping per variant; the first is the plain one (batch 1)."""
    batch, inner = _symbols(plan.inputs)
    variants: list[dict[str, int]] = []
    cached = any("past" in s for s in inner)
    for turn in range(4 if cached else 3 if inner else 1):
        turns = (turn, -turn % 3)  # neighbours differ, and each sees all three
        sizes = (
            _cache_sizes(inner, turn)
            if cached
            else {s: _inner_sizes(plan.inputs, s)[turns[i % 2]] for i, s in enumerate(inner)}
        )
        variants.append({**dict.fromkeys(batch, 1), **sizes})
    base = variants[0]
    if batch:
        variants += [{**base, **dict.fromkeys(batch, n)} for n in (3, 8)]
    fixed = [{**v, **{k: n for k, n in plan.sizes.items() if k in v}} for v in variants]
    unique: list[dict[str, int]] = []
    for variant in fixed:
        if variant not in unique:
            unique.append(variant)
    return unique


def shape_for(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The spec's shape with its dynamic dimensions filled in."""
    return dims.filled(spec.shape, sizes)


def make_feeds(plan: FeedPlan) -> list[Feed]:
    """All feeds: every kind at the plain size, then other sizes (a batch of 8 holds eight kinds), then real samples."""
    feeds = []
    variants = sizes_to_try(plan)
    names = list(FLOAT_KINDS)
    for number, kind in enumerate(names):
        feeds.append(_feed(plan, [kind], variants[0], number))
    for number, sizes in enumerate(variants[1:]):
        elements = sum(math.prod(shape_for(s, sizes)) for s in plan.inputs)
        if elements <= plan.max_elements:
            turned = names[number:] + names[:number]
            feeds.append(_feed(plan, turned, sizes, 100 + number))
    return feeds + _samples(plan, variants[0])


def _feed(plan: FeedPlan, kinds: Sequence[str], sizes: Mapping[str, int], number: int) -> Feed:
    batch, _ = _symbols(plan.inputs)
    arrays = {}
    for index, spec in enumerate(plan.inputs):
        rng = np.random.default_rng([plan.seed, number, index])
        shape = shape_for(spec, sizes)
        stacked = len(kinds) > 1 and len(shape) > 1 and spec.shape[0] in batch and shape[0] > 1
        if stacked:
            rows = [make_array(kinds[i % len(kinds)], rng, spec, shape[1:], plan) for i in range(shape[0])]
            arrays[spec.name] = np.stack(rows)
        else:
            arrays[spec.name] = make_array(kinds[0], rng, spec, shape, plan)
    size = ", ".join(f"{k}={v}" for k, v in sizes.items())
    label = kinds[0] if len(kinds) == 1 else "mixed"
    return Feed(f"{label} ({size})" if size else label, arrays)


def _samples(plan: FeedPlan, sizes: Mapping[str, int]) -> list[Feed]:
    """Up to 8 real samples as runs of the plain size; every input must be given."""
    if not plan.data or any(s.name not in plan.data for s in plan.inputs):
        return []
    sizes = {**sizes, **_sizes_of(plan)}
    feeds: list[Feed] = []
    for sample in range(8):
        arrays = {}
        for spec in plan.inputs:
            taken = take_sample(plan.data[spec.name], sample, shape_for(spec, sizes))
            if taken is None:
                return feeds
            arrays[spec.name] = taken.astype(_numpy_dtype(spec.dtype))
        feeds.append(Feed(f"sample {sample}", arrays))
    return feeds


def _sizes_of(plan: FeedPlan) -> dict[str, int]:
    """Dynamic dimensions that are no batch, as the samples have them (unless the target has fixed them)."""
    batch, _ = _symbols(plan.inputs)
    found: dict[str, int] = {}
    for spec in plan.inputs:
        shape = plan.data[spec.name].shape
        missing = len(spec.shape) - len(shape)  # a sample axis of its own, or none at all
        for dim, size in zip(spec.shape[max(0, missing) :], shape[max(0, -missing) :], strict=False):
            if dim in dims.names([dim]) and dim not in batch and dim not in plan.sizes and missing <= 0:
                found[str(dim)] = size
    return found


def take_sample(data: np.ndarray, sample: int, shape: tuple[int, ...]) -> np.ndarray | None:
    """Sample ``sample`` of ``data`` in the wanted shape, or None where there is none or it does not fit."""
    if data.shape == shape:
        return data if sample == 0 else None
    if sample >= len(data):
        return None
    if data.shape[1:] == shape[1:] and shape[:1] == (1,):
        return data[sample : sample + 1]
    if data.shape[1:] == shape:
        return np.asarray(data[sample])
    return None

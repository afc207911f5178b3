"""Which entries of arrays go: the smallest ones, exactly as many as asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recast.errors import BadRecipe


def smallest(scores: np.ndarray, count: int) -> np.ndarray:
    """True for exactly ``count`` entries of the lowest score; of equal ones the first."""
    flat = np.ascontiguousarray(scores).reshape(-1)
    made = np.zeros(flat.size, bool)
    if count >= flat.size:
        made[:] = True
    elif count > 0:
        limit = np.partition(flat, count - 1)[count - 1]
        made[flat < limit] = True
        made[np.flatnonzero(flat == limit)[: count - int(made.sum())]] = True
    return made.reshape(scores.shape)


def smallest_of_all(scores: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """The same over several arrays together."""
    if not scores:
        return []
    joined = smallest(np.concatenate([s.reshape(-1) for s in scores]), count)
    parts = np.split(joined, np.cumsum([s.size for s in scores])[:-1])
    return [part.reshape(s.shape) for part, s in zip(parts, scores, strict=True)]


def blocks(array: np.ndarray, axis: int, size: int, norm: str) -> np.ndarray:
    """Norms of runs of ``size`` entries along an axis; the last run may be shorter. Axis last, shape (…, runs)."""
    moved = np.abs(np.moveaxis(array, axis, -1).astype(np.float64))
    moved = np.pad(moved, [(0, 0)] * (moved.ndim - 1) + [(0, -moved.shape[-1] % size)])
    runs = moved.reshape(*moved.shape[:-1], -1, size)
    found: np.ndarray = runs.sum(axis=-1) if norm == "l1" else np.sqrt(np.square(runs).sum(axis=-1))
    return found


def expanded(mask: np.ndarray, axis: int, size: int, length: int) -> np.ndarray:
    """A mask of runs as a mask of entries, the axis back in its place."""
    return np.moveaxis(np.repeat(mask, size, axis=-1)[..., :length], -1, axis)


def n_of_m(scores: np.ndarray, keep: int, of: int) -> np.ndarray:
    """True for all but the ``keep`` highest of every ``of`` neighbours along the last axis (a multiple of ``of``)."""
    groups = scores.reshape(*scores.shape[:-1], -1, of)
    order = np.argsort(groups, axis=-1, kind="stable")
    made = np.zeros(groups.shape, bool)
    np.put_along_axis(made, order[..., : of - keep], True, axis=-1)
    return made.reshape(scores.shape)


def pattern(text: str) -> tuple[int, int] | None:
    """``2:4`` → (2, 4): two of four stay; "" → None.

    Raises:
        BadRecipe: something else.
    """
    if not text:
        return None
    keep, _, of = text.partition(":")
    if not (keep.isdecimal() and of.isdecimal() and 0 < int(keep) < int(of) <= 64):
        raise BadRecipe(f"pattern '{text}'", fix="write N:M with 0 < N < M, for example 2:4")
    return int(keep), int(of)


def check_amount(amount: float | None, threshold: float | None = None, pattern: str = "") -> None:
    """Exactly one of the three, in range.

    Raises:
        BadRecipe: otherwise.
    """
    given = [g for g in (amount, threshold, pattern or None) if g is not None]
    if len(given) != 1:
        raise BadRecipe("say how much to prune, in one way", fix="--prune 0.5, --prune-threshold 1e-3 or a pattern")
    if amount is not None and not 0 < amount < 1:
        raise BadRecipe(f"amount {amount}", fix="a share between 0 and 1")
    if threshold is not None and not 0 < threshold < np.inf:
        raise BadRecipe(f"threshold {threshold}", fix="a positive number")

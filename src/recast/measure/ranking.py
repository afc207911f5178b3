"""Measures that depend on order only: AUC, rank correlation, overlap of the largest."""

from __future__ import annotations

import numpy as np


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 along the last axis; ties share their mean rank. Shape (..., n), float64."""
    flat = values.reshape(-1, values.shape[-1])
    found = np.empty(flat.shape, np.float64)
    for row, result in zip(flat, found, strict=True):
        _, inverse, counts = np.unique(row, return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        result[:] = ((ends - counts + 1 + ends) / 2)[inverse]
    return found.reshape(values.shape)


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half (Mann–Whitney U).

    Args:
        scores: shape (n,), larger means positive.
        labels: shape (n,), truthy for positive; both kinds must be there.

    Raises:
        ValueError: only one class is there.
    """
    positive = labels.astype(bool)
    count, rest = int(positive.sum()), int((~positive).sum())
    if not count or not rest:
        raise ValueError("AUC needs both classes")
    total = float(ranks(scores)[positive].sum())
    return (total - count * (count + 1) / 2) / (count * rest)


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each sample; shapes (n, k), result (n,). NaN where one side is constant."""
    a, b = ranks(first), ranks(second)
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        result: np.ndarray = (a * b).sum(axis=1) / norm
    return result


def top_overlap(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """Share of the ``count`` largest places that both have in common; shapes (n, k), result (n,)."""
    a, b = (np.argsort(-x, axis=1, kind="stable")[:, :count] for x in (first, second))
    return np.array([len(np.intersect1d(x, y)) / count for x, y in zip(a, b, strict=True)])

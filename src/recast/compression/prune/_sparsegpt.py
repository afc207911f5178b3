"""Choose and repair at once: the mathematics of SparseGPT (Frantar and Alistarh, ICML 2023), float64."""

from __future__ import annotations

import numpy as np

from recast.compression.prune import _masks

DAMP = 0.01  # of the mean diagonal, as in the paper
BLOCK = 128  # columns whose zeros are chosen together (the paper's mask block)


def damped(h: np.ndarray) -> np.ndarray:
    """Second moments that can be inverted."""
    made: np.ndarray = h + np.eye(len(h)) * (DAMP * max(float(np.trace(h)) / len(h), 1e-12))
    return made


def sparsegpt(
    w: np.ndarray, h: np.ndarray, amount: float, pattern: tuple[int, int] | None = None, block: int = BLOCK
) -> np.ndarray:
    """The matrix with zeros, the other weights moved so that the output changes least.

    Columns are taken from left to right; what is lost in a column goes to those right of it by the optimal brain
    surgeon's update ``δ = -(w_q / [H⁻¹]_qq) · H⁻¹_q,:`` (their eq. 3), with the Cholesky factor of H⁻¹ (algorithm 1). A
    weight's saliency is ``w² / [H⁻¹]_qq²`` of that factor; with an amount the lowest of a block of columns go, rows
    competing; with N:M those of every M columns of a row.

    Args:
        w: float64 (rows, columns).
        h: float64 (columns, columns), the inputs' second moments E[x xᵀ].
        amount: share that goes; ignored with a pattern.
        pattern: (N, M): N of M stay; the columns are a multiple of M.
        block: columns of one choice; with a pattern a multiple of M.
    """
    made = w.copy()
    inverse = np.linalg.inv(damped(h))
    factor = np.linalg.cholesky((inverse + inverse.T) / 2).T
    step = block if pattern is None else max(block // pattern[1], 1) * pattern[1]
    for start in range(0, w.shape[1], step):
        stop = min(start + step, w.shape[1])
        _one_block(made, factor, (start, stop), amount, pattern)
    return made


def _one_block(
    made: np.ndarray, factor: np.ndarray, span: tuple[int, int], amount: float, pattern: tuple[int, int] | None
) -> None:
    start, stop = span
    part, inner = made[:, start:stop], factor[start:stop, start:stop]
    diagonal = np.diag(inner)
    gone = np.zeros(part.shape, bool)
    if pattern is None:
        gone = _masks.smallest(np.square(part / diagonal), round(amount * part.size))
    lost = np.zeros(part.shape)
    for j in range(stop - start):
        if pattern is not None and j % pattern[1] == 0:
            some = slice(j, j + pattern[1])
            gone[:, some] = _masks.n_of_m(np.square(part[:, some] / diagonal[some]), *pattern)
        lost[:, j] = np.where(gone[:, j], part[:, j], 0) / inner[j, j]
        part[:, j + 1 :] -= np.outer(lost[:, j], inner[j, j + 1 :])
        part[gone[:, j], j] = 0
    made[:, stop:] -= lost @ factor[start:stop, stop:]

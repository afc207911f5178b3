"""Normalisation operators."""

from __future__ import annotations

import numpy as np

from recast.verification.kernels import Call, Result, kernel


def _per_channel(values: np.ndarray, rank: int) -> np.ndarray:
    return values.reshape(1, -1, *([1] * (rank - 2)))


def _standardise(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    centred = x - x.mean(axis=axes, keepdims=True)
    variance = (centred * centred).mean(axis=axes, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + epsilon))


@kernel("BatchNormalization")
def batch_normalization(call: Call) -> Result:
    """Inference form: y = scale (x - mean) / sqrt(var + epsilon) + bias."""
    if call.attr("training_mode", 0):
        raise ValueError("BatchNormalization in training mode is not evaluated")
    x = call[0]
    scale, bias, mean, var = (_per_channel(call[i], x.ndim) for i in range(1, 5))
    return np.asarray((x - mean) / np.sqrt(var + float(call.attr("epsilon", 1e-5))) * scale + bias)


@kernel("LayerNormalization")
def layer_normalization(call: Call) -> Result:
    """Over the axes from ``axis`` on; also gives the mean and the inverse standard deviation."""
    x = call[0]
    axes = tuple(range(int(call.attr("axis", -1)) % x.ndim, x.ndim))
    epsilon = float(call.attr("epsilon", 1e-5))
    y, bias = _standardise(x, axes, epsilon) * call[1], call.get(2)
    inverse = 1 / np.sqrt(x.var(axis=axes, keepdims=True) + epsilon)
    return (y if bias is None else y + bias), x.mean(axis=axes, keepdims=True), inverse


@kernel("RMSNormalization")
def rms_normalization(call: Call) -> Result:
    """x / sqrt(mean(x²) + epsilon) · scale over the axes from ``axis`` on."""
    x = call[0]
    axes = tuple(range(int(call.attr("axis", -1)) % x.ndim, x.ndim))
    return np.asarray(x / np.sqrt((x * x).mean(axis=axes, keepdims=True) + float(call.attr("epsilon", 1e-5))) * call[1])


@kernel("InstanceNormalization")
def instance_normalization(call: Call) -> Result:
    """Per sample and channel over the spatial axes."""
    x = call[0]
    y = _standardise(x, tuple(range(2, x.ndim)), float(call.attr("epsilon", 1e-5)))
    return np.asarray(y * _per_channel(call[1], x.ndim) + _per_channel(call[2], x.ndim))


@kernel("GroupNormalization")
def group_normalization(call: Call) -> Result:
    """scale and bias per channel (opset 21 on)."""
    x = call[0]
    grouped = x.reshape(x.shape[0], int(call.attr("num_groups")), -1)
    y = _standardise(grouped, (2,), float(call.attr("epsilon", 1e-5))).reshape(x.shape)
    return np.asarray(y * _per_channel(call[1], x.ndim) + _per_channel(call[2], x.ndim))


@kernel("LRN")
def lrn(call: Call) -> Result:
    """Local response normalisation across channels."""
    x, size = call[0], int(call.attr("size"))
    squares = np.pad(x * x, [(0, 0), ((size - 1) // 2, size - 1 - (size - 1) // 2)] + [(0, 0)] * (x.ndim - 2))
    total = sum(squares[:, i : i + x.shape[1]] for i in range(size))
    alpha, beta = float(call.attr("alpha", 1e-4)), float(call.attr("beta", 0.75))
    return np.asarray(x / (float(call.attr("bias", 1.0)) + alpha / size * total) ** beta)

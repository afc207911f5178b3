"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.call import LayerCall
from recast.formats.keras.reading import reads


def _batch_roles(config: Mapping[str, Any]) -> list[str]:
    own = [role for role, key in (("gamma", "scale"), ("beta", "center")) if config.get(key, True)]
    return [*own, "~moving_mean", "~moving_variance"]


@reads("BatchNormalization", "SyncBatchNormalization", weights=_batch_roles, masking="keep")
def batch_norm(c: LayerCall) -> ir.Value:
    """BatchNormalization over one axis; missing scale is 1, missing centre 0."""
    axis, rank = c.get("axis", -1), c.rank
    axis = (axis[0] if isinstance(axis, list) else int(axis)) % rank
    size = c.fixed(c.x, axis)
    if isinstance(c.get("axis", -1), list) and len(c.get("axis")) != 1:
        raise c.refuse("normalisation over several axes")
    if axis == 0:
        raise c.refuse("normalisation over the batch axis")
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    values = [c.filled(name, (size,), fill) for name, fill in zip(names, (1.0, 0.0, 0.0, 1.0), strict=True)]
    rest = [a for a in range(1, rank) if a != axis]
    perm = [0, axis, *rest]
    x = c.x if axis == 1 else c.op("Transpose", [c.x], {"perm": perm})
    attributes = {"epsilon": float(c.get("epsilon", 1e-3)), "momentum": float(c.get("momentum", 0.99))}
    y = c.op("BatchNormalization", [x, *values], attributes)
    return y if axis == 1 else c.op("Transpose", [y], {"perm": [perm.index(a) for a in range(rank)]})


def _affine_roles(config: Mapping[str, Any]) -> list[str]:
    return [role for role, key in (("gamma", "scale"), ("beta", "center")) if config.get(key, True)]


@reads("LayerNormalization", weights=_affine_roles, masking="keep")
def layer_norm(c: LayerCall) -> ir.Value:
    """LayerNormalization where the axes are the last ones, else spelt out."""
    axis = c.get("axis", -1)
    axes = sorted(a % c.rank for a in (axis if isinstance(axis, list) else [axis]))
    if c.get("rms_scaling", False):
        raise c.refuse("rms_scaling", "use RMSNormalization")
    epsilon = float(c.get("epsilon", 1e-3))
    shape = [c.fixed(c.x, a) for a in axes]
    if axes == list(range(axes[0], c.rank)):
        inputs = [c.x, c.filled("gamma", shape, 1.0)] + ([c.param("beta", shape)] if c.has("beta") else [])
        return c.op("LayerNormalization", inputs, {"axis": axes[0] - c.rank, "epsilon": epsilon})
    over = c.const(axes)
    centred = c.op("Sub", [c.x, c.op("ReduceMean", [c.x, over], {"keepdims": 1})])
    variance = c.op("ReduceMean", [c.op("Mul", [centred, centred]), over], {"keepdims": 1})
    y = c.op("Div", [centred, c.op("Sqrt", [c.op("Add", [variance, c.like(epsilon, c.x)])])])
    spread = [c.fixed(c.x, a) if a in axes else 1 for a in range(axes[0], c.rank)]
    for role, op_type in (("gamma", "Mul"), ("beta", "Add")):
        if c.has(role):
            y = c.op(op_type, [y, c.param(role, shape, lambda w: w.reshape(spread))])
    return y


@reads("RMSNormalization", weights=lambda _: ["scale"], masking="keep")
def rms_norm(c: LayerCall) -> ir.Value:
    """x / rms(x) · scale over the last axis."""
    axis = c.get("axis", -1)
    axis = axis if isinstance(axis, int) else axis[0] if len(axis) == 1 else 0
    if axis not in (-1, c.rank - 1):
        raise c.refuse("axes other than the last")
    scale = c.param("scale", (c.fixed(c.x, -1),))
    return c.op("RMSNormalization", [c.x, scale], {"axis": -1, "epsilon": float(c.get("epsilon", 1e-6))})


@reads("GroupNormalization", "InstanceNormalization", weights=_affine_roles, masking="keep")
def group_norm(c: LayerCall) -> ir.Value:
    """GroupNormalization over groups of channels and all spatial positions."""
    axis = int(c.get("axis", -1)) % c.rank
    size = c.fixed(c.x, axis)
    groups = int(c.get("groups", 32))
    groups = size if groups == -1 else groups
    if c.rank < 3 or size % groups or axis not in (1, c.rank - 1):
        raise c.refuse(f"{groups} groups of {size} channels on axis {axis} of rank {c.rank}")
    pair = [c.filled("gamma", (size,), 1.0), c.filled("beta", (size,), 0.0)]
    x = c.x if axis == 1 else c.b.channels_first(c.x)
    attributes = {"num_groups": groups, "epsilon": float(c.get("epsilon", 1e-3))}
    y = c.op("GroupNormalization", [x, *pair], attributes)
    return y if axis == 1 else c.b.channels_last(y)


@reads("UnitNormalization", masking="keep")
def unit_norm(c: LayerCall) -> ir.Value:
    """x / L2 norm; the squared norm is at least 1e-12."""
    axis = c.get("axis", -1)
    over = c.const(sorted(a % c.rank for a in (axis if isinstance(axis, list) else [axis])))
    square = c.op("ReduceSum", [c.op("Mul", [c.x, c.x]), over], {"keepdims": 1})
    return c.op("Div", [c.x, c.op("Sqrt", [c.op("Max", [square, c.like(1e-12, c.x)])])])


def _normalization_roles(config: Mapping[str, Any]) -> list[str]:
    return [] if config.get("mean") is not None else ["~mean", "~variance", "~count"]


@reads("Normalization", weights=_normalization_roles)
def normalization(c: LayerCall) -> ir.Value:
    """(x − mean) / sqrt(variance), or back with ``invert``."""
    x = c.x
    if x.dtype != c.compute:
        x = c.op("Cast", [x], {"to": int(c.compute)})
    axis = c.layer.config.get("axis", -1)
    axes = [] if axis is None else [a % c.rank for a in (axis if isinstance(axis, list) else [axis])]
    spread = [c.fixed(x, a) if a in axes else 1 for a in range(c.rank)]
    pair = []
    for role in ("mean", "variance"):
        data = c.array(role) if c.has(role) else np.asarray(c.layer.config[role], np.float32)
        full = np.broadcast_to(data, [s for s in spread if s != 1] or ()) if data.size == 1 else data
        pair.append(full.astype(np.float64).reshape(spread))
    mean, deviation = pair[0], np.maximum(np.sqrt(pair[1]), 1e-7)
    low, wide = c.made("mean", mean), c.made("deviation", deviation)
    if c.get("invert", False):
        return c.op("Add", [c.op("Mul", [x, wide]), low])
    return c.op("Div", [c.op("Sub", [x, low]), wide])

"""Attention layers and EinsumDense."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from recast.formats.keras.call import LayerCall
from recast.formats.keras.config import Layer
from recast.formats.keras.reading import reads

_MASKED = -1e9


def _einsum_roles(config: Mapping[str, Any]) -> list[str]:
    return ["kernel"] if config.get("bias_axes") is None else ["kernel", "bias"]


@reads("EinsumDense", weights=_einsum_roles)
def einsum_dense(c: LayerCall) -> ir.Value:
    """MatMul where the equation is one, else Einsum; then the bias."""
    left, right = str(c.get("equation")).replace(" ", "").split("->")
    first, second = left.split(",")
    joint = "".join(letter for letter in first.replace("...", "") if letter in second)
    rest, new = first.removesuffix(joint), second.removeprefix(joint)
    if first.endswith(joint) and second.startswith(joint) and right == rest + new and joint and new:
        y = project(c, c.x, "kernel", len(joint))
    else:
        y = c.op("Einsum", [c.x, c.param("kernel")], {"equation": f"{first},{second}->{right}"})
    if c.has("bias"):
        y = c.op("Add", [y, c.param("bias")])
    return c.activate(y)


def project(c: LayerCall, x: ir.Value, role: str, joint: int) -> ir.Value:
    """Contract the last ``joint`` axes of x with the first ones of a weight: one MatMul between reshapes."""
    shape = c.array(role).shape
    inside, outside = math.prod(shape[:joint]), shape[joint:]
    lead = len(c.dims(x)) - joint
    if joint > 1:
        x = c.op("Reshape", [x, c.const([*[0] * lead, inside])])
    matrix = c.param(role, None, lambda w: w.reshape(inside, -1))
    y = c.op("MatMul", [x, matrix])
    return c.op("Reshape", [y, c.const([*[0] * lead, *outside])]) if len(outside) > 1 else y


def _projections(layer: Layer) -> list[tuple[str, Layer]]:
    config = {"use_bias": layer.config.get("use_bias", True)}
    return [
        (path, Layer("_Projection", name, config, f"{layer.path}/{name}"))
        for path, name in (
            ("query_dense", "query"),
            ("key_dense", "key"),
            ("value_dense", "value"),
            ("output_dense", "attention_output"),
        )
    ]


def _projection_roles(config: Mapping[str, Any]) -> list[str]:
    return ["kernel", "bias"] if config["use_bias"] else ["kernel"]


@reads("_Projection", weights=_projection_roles)
def projection(c: LayerCall) -> ir.Value:
    """(N, T, D) → (N, T, heads, size), or back for the output."""
    joint = 2 if c.layer.name == "attention_output" else 1
    y = project(c, c.x, "kernel", joint)
    return c.op("Add", [y, c.param("bias")]) if c.has("bias") else y


@reads("MultiHeadAttention", children=_projections, masking="use")
def multi_head(c: LayerCall) -> Any:
    """softmax(Q Kᵀ / √size) V over all heads."""
    c.refuse_mask()
    _only(c, {"attention_axes": [(1,), [1], None], "use_gate": [False, None], "sliding_window": [None]})
    values = dict(zip(("query", "value", "key"), c.args, strict=False))
    values.update({k: v for k, v in c.kwargs.items() if k in ("query", "value", "key") and v is not None})
    query, value = values["query"], values["value"]
    key = value if values.get("key") is None else values["key"]
    size = int(c.get("key_dim"))
    parts = {"query_dense": query, "key_dense": key, "value_dense": value}
    q, k, v = (c.child(path, [x]) for path, x in parts.items())
    q = c.op("Mul", [c.op("Transpose", [q], {"perm": [0, 2, 1, 3]}), c.like(1 / math.sqrt(size), q)])
    scores = c.op("MatMul", [q, c.op("Transpose", [k], {"perm": [0, 2, 3, 1]})])
    scores = _masked(c, scores, heads=True)
    weights = c.op("Softmax", [scores], {"axis": 3})
    y = c.op("MatMul", [weights, c.op("Transpose", [v], {"perm": [0, 2, 1, 3]})])
    y = c.child("output_dense", [c.op("Transpose", [y], {"perm": [0, 2, 1, 3]})])
    return [y, weights] if c.kwargs.get("return_attention_scores") else y


def _only(c: LayerCall, allowed: dict[str, list[Any]]) -> None:
    for key, values in allowed.items():
        if c.layer.config.get(key) not in values:
            raise c.refuse(f"{key}={c.layer.config.get(key)}")


def _masked(c: LayerCall, scores: ir.Value, heads: bool) -> ir.Value:
    """Apply ``attention_mask`` and ``use_causal_mask``."""
    for key in ("query_mask", "value_mask", "key_mask", "mask"):
        given = c.kwargs.get(key)
        if given is not None and any(m is not None for m in (given if isinstance(given, list) else [given])):
            raise c.refuse(f"a mask given as '{key}'")
    if len(c.args) > 3:
        raise c.refuse("masks given without their names")
    mask = c.kwargs.get("attention_mask")
    if isinstance(mask, ir.Value):
        if mask.dtype != ir.DataType.BOOL:
            mask = c.op("Cast", [mask], {"to": int(ir.DataType.BOOL)})
        if heads and len(c.dims(mask)) == 3:
            mask = c.op("Unsqueeze", [mask, c.const([1])])
        scores = c.op("Where", [mask, scores, c.like(_MASKED, scores)])
    elif mask is not None:
        raise c.refuse("an attention_mask that is no tensor")
    if c.kwargs.get("use_causal_mask"):
        rank = len(c.dims(scores))
        rows, columns = c.fixed(scores, rank - 2), c.fixed(scores, rank - 1)
        scores = c.op("Where", [c.const(np.tri(rows, columns, dtype=bool)), scores, c.like(_MASKED, scores)])
    return scores


def _attention_roles(config: Mapping[str, Any]) -> list[str]:
    own = ["scale"] if config.get("use_scale", False) else []
    return [*own, "concat_score_weight"] if config.get("score_mode") == "concat" else own


def _inputs(c: LayerCall) -> tuple[ir.Value, ir.Value, ir.Value]:
    c.refuse_mask()
    tensors = c.tensors
    if len(tensors) not in (2, 3):
        raise c.refuse(f"{len(tensors)} tensors, query, value and maybe key wanted")
    return tensors[0], tensors[1], tensors[-1] if len(tensors) == 3 else tensors[1]


@reads("Attention", weights=_attention_roles, masking="use")
def attention(c: LayerCall) -> Any:
    """Dot-product attention over (N, T, D) tensors."""
    query, value, key = _inputs(c)
    if c.get("score_mode", "dot") == "dot":
        scores = c.op("MatMul", [query, c.op("Transpose", [key], {"perm": [0, 2, 1]})])
        if c.has("scale"):
            scores = c.op("Mul", [scores, c.param("scale", ())])
    else:
        total = _sum_all(c, query, key)
        if c.has("scale"):
            total = c.op("Mul", [total, c.param("scale", ())])
        scores = c.op("ReduceSum", [c.op("Tanh", [total]), c.const([3])], {"keepdims": 0})
        scores = c.op("Mul", [scores, c.param("concat_score_weight", ())])
    return _weigh(c, scores, value)


@reads("AdditiveAttention", weights=lambda g: ["scale"] if g.get("use_scale", True) else [], masking="use")
def additive_attention(c: LayerCall) -> Any:
    """Scores are Σ scale · tanh(q + k)."""
    query, value, key = _inputs(c)
    total = c.op("Tanh", [_sum_all(c, query, key)])
    if c.has("scale"):
        total = c.op("Mul", [total, c.param("scale", (c.fixed(query, -1),))])
    return _weigh(c, c.op("ReduceSum", [total, c.const([3])], {"keepdims": 0}), value)


def _sum_all(c: LayerCall, query: ir.Value, key: ir.Value) -> ir.Value:
    """(N, Tq, 1, D) + (N, 1, Tv, D)."""
    return c.op("Add", [c.op("Unsqueeze", [query, c.const([2])]), c.op("Unsqueeze", [key, c.const([1])])])


def _weigh(c: LayerCall, scores: ir.Value, value: ir.Value) -> Any:
    weights = c.op("Softmax", [_masked(c, scores, heads=False)], {"axis": 2})
    y = c.op("MatMul", [weights, value])
    return [y, weights] if c.kwargs.get("return_attention_scores") else y

"""Correct rewrites of a graph (another order of summing, other operators, another layout) and a second runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
from checker_faults import set_attr, set_const

from recast.graph.view import attr, const
from recast.verification.local import GraphRunner
from recast.verification.oracle import Oracle

Rewrite = Callable[[ir.Model], bool]
REWRITES: dict[str, Rewrite] = {}


class NumpyRunner:
    """The graph in float32 by NumPy."""

    def __init__(self, model: ir.Model) -> None:
        self._oracle = Oracle(model)
        specs = GraphRunner(model, optimise=False)
        self.inputs, self.outputs = specs.inputs, specs.outputs

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._oracle.run(feeds, exact=False)

    def close(self) -> None:
        pass


def rewrite(name: str) -> Callable[[Rewrite], Rewrite]:
    def register(function: Rewrite) -> Rewrite:
        REWRITES[name] = function
        return function

    return register


def _new(model: ir.Model, before: ir.Node, op: str, inputs: list[ir.Value | None], **attributes: object) -> ir.Value:
    node = ir.Node("", op, inputs, name=f"{before.name}/{op}_{len(model.graph)}")
    for key, value in attributes.items():
        set_attr(node, key, value)
    node.outputs[0].name = node.name
    node.outputs[0].dtype = before.outputs[0].dtype
    model.graph.insert_before(before, node)
    return node.outputs[0]


def _become(node: ir.Node, op: str, inputs: list[ir.Value | None], **attributes: object) -> None:
    node.op_type = op
    node.attributes.clear()
    for key, value in attributes.items():
        set_attr(node, key, value)
    node.resize_inputs(len(inputs))
    for index, value in enumerate(inputs):
        node.replace_input_with(index, value)


@rewrite("batch-normalisation-folded")
def fold_bn(model: ir.Model) -> bool:
    done = False
    for node in list(model.graph):
        conv = node.inputs[0].producer() if node.op_type == "BatchNormalization" and node.inputs[0] else None
        if conv is None or conv.op_type != "Conv":
            continue
        scale, bias, mean, var = (const(v) for v in node.inputs[1:5])
        factor = scale / np.sqrt(var + np.float32(attr(node, "epsilon")))  # type: ignore[operator]
        w, b = const(conv.inputs[1]), const(conv.inputs[2])
        set_const(model, conv, 1, w * factor.reshape(-1, *[1] * (w.ndim - 1)))  # type: ignore[operator,union-attr]
        set_const(model, conv, 2, ((b - mean) * factor + bias).astype(np.float32))  # type: ignore[operator]
        _become(node, "Identity", [conv.outputs[0]])
        done = True
    return done


@rewrite("batch-normalisation-as-mul-add")
def bn_mul_add(model: ir.Model) -> bool:
    done = False
    for node in list(model.graph):
        if node.op_type != "BatchNormalization":
            continue
        rank = len(node.inputs[0].shape or ())  # type: ignore[union-attr]
        scale, bias, mean, var = (const(v) for v in node.inputs[1:5])
        factor = scale / np.sqrt(var + np.float32(attr(node, "epsilon")))  # type: ignore[operator]
        shift = bias - mean * factor  # type: ignore[operator]
        x = node.inputs[0]
        product = _new(model, node, "Mul", [x, x])
        inner = product.producer()
        assert inner is not None
        set_const(model, inner, 1, factor.reshape(-1, *[1] * (rank - 2)).astype(np.float32))
        _become(node, "Add", [product, product])
        set_const(model, node, 1, shift.reshape(-1, *[1] * (rank - 2)).astype(np.float32))
        done = True
    return done


@rewrite("channels-last")
def transposed_space(model: ir.Model) -> bool:
    """Each 2-D convolution runs on the image with height and width exchanged."""
    done = False
    for node in list(model.graph):
        w = const(node.inputs[1]) if node.op_type == "Conv" else None
        if w is None or w.ndim != 4 or node.inputs[0] is None:
            continue
        x = _new(model, node, "Transpose", [node.inputs[0]], perm=[0, 1, 3, 2])
        copy = _new(model, node, "Conv", [x, *node.inputs[1:]])
        conv = copy.producer()
        assert conv is not None
        for key, value in node.attributes.items():
            values = attr(node, key)
            if key == "pads":
                values = [values[1], values[0], values[3], values[2]]
            elif key in ("strides", "dilations"):
                values = values[::-1]
            set_attr(conv, key, values)
            del value
        set_const(model, conv, 1, w.swapaxes(2, 3))
        _become(node, "Transpose", [copy], perm=[0, 1, 3, 2])
        done = True
    return done


@rewrite("gemm-as-matmul")
def gemm_matmul(model: ir.Model) -> bool:
    done = False
    for node in list(model.graph):
        if node.op_type == "Gemm" and not attr(node, "transB", 0) and const(node.inputs[1]) is not None:
            _become(node, "Add", [_new(model, node, "MatMul", [node.inputs[0], node.inputs[1]]), node.inputs[2]])
            done = True
    return done


@rewrite("input-channels-reversed")
def reversed_sum(model: ir.Model) -> bool:
    """Dense layers sum in the opposite order."""
    done = False
    for node in list(model.graph):
        w = const(node.inputs[1]) if node.op_type in ("Gemm", "MatMul") else None
        if w is None or attr(node, "transB", 0):
            continue
        order = np.arange(w.shape[0])[::-1].copy()
        picked = _new(model, node, "Gather", [node.inputs[0], node.inputs[0]], axis=-1)
        gather = picked.producer()
        assert gather is not None
        set_const(model, gather, 1, order.astype(np.int64))
        node.replace_input_with(0, picked)
        set_const(model, node, 1, w[order])
        done = True
    return done


@rewrite("softmax-written-out")
def softmax_out(model: ir.Model) -> bool:
    done = False
    for node in list(model.graph):
        if node.op_type != "Softmax":
            continue
        axis = attr(node, "axis", -1)
        peak = _new(model, node, "ReduceMax", [node.inputs[0], node.inputs[0]], keepdims=1)
        set_const(model, peak.producer(), 1, np.array([axis], np.int64))  # type: ignore[arg-type]
        power = _new(model, node, "Exp", [_new(model, node, "Sub", [node.inputs[0], peak])])
        total = _new(model, node, "ReduceSum", [power, power], keepdims=1)
        set_const(model, total.producer(), 1, np.array([axis], np.int64))  # type: ignore[arg-type]
        _become(node, "Div", [power, total])
        done = True
    return done


@rewrite("activations-written-out")
def activations(model: ir.Model) -> bool:
    done = False
    for node in list(model.graph):
        x = node.inputs[0] if node.inputs else None
        if node.op_type == "Sigmoid" and x is not None:
            _become(
                node, "Reciprocal", [_plus_one(model, node, _new(model, node, "Exp", [_new(model, node, "Neg", [x])]))]
            )
            done = True
        elif node.op_type == "Softplus" and x is not None:
            continue
        elif node.op_type == "Relu" and x is not None:
            _become(node, "Max", [x, x])
            set_const(model, node, 1, np.zeros((), np.float32))
            done = True
        elif node.op_type == "Sub" and x is not None and const(node.inputs[1]) is None:
            _become(node, "Add", [x, _new(model, node, "Neg", [node.inputs[1]])])
            done = True
    return done


def _plus_one(model: ir.Model, node: ir.Node, x: ir.Value) -> ir.Value:
    total = _new(model, node, "Add", [x, x])
    producer = total.producer()
    assert producer is not None
    set_const(model, producer, 1, np.ones((), np.float32))
    return total


@rewrite("layer-normalisation-written-out")
def layer_norm(model: ir.Model) -> bool:
    done = False
    for node in list(model.graph):
        if node.op_type != "LayerNormalization":
            continue
        x, scale, bias = node.inputs
        axes = np.array([-1], np.int64)
        mean = _new(model, node, "ReduceMean", [x, x], keepdims=1)
        set_const(model, mean.producer(), 1, axes)  # type: ignore[arg-type]
        centred = _new(model, node, "Sub", [x, mean])
        var = _new(model, node, "ReduceMean", [_new(model, node, "Mul", [centred, centred]), x], keepdims=1)
        set_const(model, var.producer(), 1, axes)  # type: ignore[arg-type]
        padded = _new(model, node, "Add", [var, var])
        set_const(model, padded.producer(), 1, np.array(attr(node, "epsilon"), np.float32))  # type: ignore[arg-type]
        scaled = _new(model, node, "Div", [centred, _new(model, node, "Sqrt", [padded])])
        _become(node, "Add", [_new(model, node, "Mul", [scaled, scale]), bias])
        done = True
    return done

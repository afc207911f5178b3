"""BatchNormalization statistics of a cut network, measured anew.

Cutting changes the distribution of what reaches each normalisation. As in training, every batch is normalised by its
own mean and variance, layer after layer; these are averaged over the batches (Li et al., EagleEye: Fast Sub-net
Evaluation for Efficient Neural Network Pruning, ECCV 2020, section 3: adaptive batch normalisation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from recast.compression.edits import Edit, SetWeight
from recast.graph.view import attr
from recast.passes._editor import Editor

if TYPE_CHECKING:
    from recast.measure.data import Samples

BATCH = 64


def edits(model: ir.Model, samples: Samples) -> list[Edit]:
    """New means and variances for the (already cut) model; nothing where it has no normalisation of its own."""
    from recast.measure.calibrate import Graph

    trained = model.clone()
    wanted = [w for node in list(trained.graph) if (w := _open(trained.graph, node)) is not None]
    if not wanted:
        return []
    sums: dict[str, np.ndarray] = {}
    batches = 0
    with Graph(trained) as graph, graph.open([n for pair in wanted for n in pair[:2]]) as runner:
        for feeds in samples.batches(runner.inputs, BATCH):
            for name, value in runner.run(feeds).items():
                sums[name] = sums.get(name, 0.0) + value.reshape(-1).astype(np.float64)
            batches += 1
    made: list[Edit] = []
    for mean, variance, mean_name, variance_name in wanted:
        for measured, weight in ((mean, mean_name), (variance, variance_name)):
            made.append(SetWeight(weight, (sums[measured] / batches).astype(np.float32), "measured anew"))
    return made


def measured(node: ir.Node) -> bool:
    """Whether a node is a normalisation whose statistics ``edits`` measures anew."""
    if node.op_type != "BatchNormalization" or any(v is None or v.const_value is None for v in node.inputs[1:]):
        return False
    x, _, _, mean, variance = node.inputs
    return x is not None and x.shape is not None and all(v is not None and len(v.uses()) == 1 for v in (mean, variance))


def _open(graph: ir.Graph, node: ir.Node) -> tuple[str, str, str, str] | None:
    """Replace one normalisation by one that uses its batch's own statistics: names of these, and of the weights."""
    if not measured(node):
        return None
    x, scale, bias, mean, variance = node.inputs
    if x is None or x.shape is None:
        return None
    editor = Editor(graph)
    rank = len(x.shape)
    axes = editor.const(np.array([0, *range(2, rank)], np.int64), "axes")
    ends = editor.const(np.array(range(1, rank - 1), np.int64), "ends")

    def op(op_type: str, *inputs: ir.Value | None) -> ir.Value:
        return editor.node(op_type, list(inputs), {}, node)

    middle = op("ReduceMean", x, axes)
    apart = op("Sub", x, middle)
    spread = op("ReduceMean", op("Mul", apart, apart), axes)
    small = editor.const(np.array(attr(node, "epsilon", 1e-5), np.float32), "epsilon")
    unit = op("Div", apart, op("Sqrt", op("Add", spread, small)))
    wide = [op("Unsqueeze", v, ends) if rank > 2 else v for v in (scale, bias)]
    editor.replace(node.outputs[0], op("Add", op("Mul", unit, wide[0]), wide[1]))
    graph.remove(node, safe=True)
    names = [v.name or "" for v in (middle, spread, mean, variance) if v is not None]
    return names[0], names[1], names[2], names[3]

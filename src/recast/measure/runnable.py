"""A graph as ONNX Runtime can run it, all of whose values can still be asked for by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recast import formats, passes
from recast.formats.onnx.kernels import has_kernel
from recast.graph.view import all_nodes

if TYPE_CHECKING:
    import onnx_ir as ir


def runnable(model: ir.Model, adjustable: Sequence[str]) -> ir.Model:
    """The model, or a copy where operators that ONNX Runtime has no kernel for are written as others.

    Args:
        model: a graph in the dialect; it is not changed.
        adjustable: initializers that may get other numbers at run time, so that none is folded into what uses it.
    """
    if all(map(has_kernel, all_nodes(model.graph))):
        return model
    copy = model.clone()
    graph = copy.graph
    held = [(v, v.const_value) for v in (graph.initializers.pop(name) for name in adjustable)]
    for value, _ in held:
        value.const_value = None
    graph.inputs.extend(value for value, _ in held)
    own = len(graph.outputs)
    kept = [v for n in graph if not has_kernel(n) for v in n.outputs if not v.is_graph_output()]
    graph.outputs.extend(kept)  # a graph output keeps its name
    functions = formats.by_name("onnx").keep_functions
    passes.run(copy, ("inline_functions", "decompose"), passes.PassOptions(keep_functions=functions, native=has_kernel))
    del graph.outputs[own:]
    del graph.inputs[len(graph.inputs) - len(held) :]
    for value, tensor in held:
        value.const_value = tensor
        graph.initializers.add(value)
    return copy

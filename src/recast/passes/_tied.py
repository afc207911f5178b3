"""Weights that two layers share, one of them turned round: a table of words that is also the head of the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir as ir

from recast.graph.view import is_const

_DOMAIN = "recast.tied"


def is_tied(node: ir.Node) -> bool:
    """Whether a node turns a matrix that somebody else takes as it is."""
    source = node.inputs[0] if node.op_type == "Transpose" and node.inputs else None
    if source is None or not is_const(source) or source.shape is None or len(source.shape) != 2:
        return False
    return any(use.node.op_type != "Transpose" for use in source.uses())


@contextmanager
def kept(graph: ir.Graph, keep: bool) -> Iterator[None]:
    """Passes within do not see the Transposes of tied weights, and so the weight stays one (only with ``keep``)."""
    held = [n for n in graph if not n.domain and is_tied(n)] if keep else []
    for node in held:
        node.domain = _DOMAIN
    try:
        yield
    finally:
        for node in held:
            node.domain = ""

"""Fold BatchNormalization into the weights of the layer before it, where there is one.

Given: a graph in the dialect.
Result: as ``fuse_batchnorm``, but a normalisation without such a layer stays: for targets that run it as one operator.
Refuses when: never.
"""

from __future__ import annotations

import onnx_ir as ir

from recast.graph.finding import Finding
from recast.passes import PassOptions
from recast.passes._editor import Editor
from recast.passes.fuse_batchnorm import fuse, normalisations


def apply(model: ir.Model, options: PassOptions) -> list[Finding]:
    """Fold what can be folded, in place."""
    editor = Editor(model.graph)
    for node, affine in normalisations(model):
        if affine is not None:
            fuse(editor, node, affine)
    editor.drop_unused()
    return []

"""The graph: ``onnx_ir`` in Recast's dialect (docs/reference/graph.md). Build it, look into it, infer its shapes.

Importing this package is cheap; its modules import onnx-ir.
"""

import importlib

from recast._util.defer import defer

# onnx-ir imports sympy for arithmetic with symbolic dimensions, which Recast does not do (decision 0001).
defer("sympy")
defer("onnx_ir._symbolic_shapes")
# onnx imports protobuf's text forms and its pure Python messages, which nobody here uses.
importlib.import_module("google.protobuf")  # an empty package; the stand-ins become its attributes
for _name in ("json_format", "text_format", "internal.python_message"):
    defer(f"google.protobuf.{_name}")

OPSET = 25
IR_VERSION = 11

# Where a node came from; kept in ``node.metadata_props``.
LAYER = "recast.layer"  # the source's layer path, e.g. "block1/conv"
ORIGIN = "recast.op"  # the source's operator, e.g. "Conv2D"

# On graph inputs and outputs: the permutation that a pass applied to the source's axes, e.g. "0,3,1,2".
PERM = "recast.perm"

# On a node with int8 weights: "int8" lets the target round its activations at every run, by their own range.
DYNAMIC = "recast.dynamic"

# Operators whose tensors are channels-last; attributes and weights are as in the standard ONNX operator of that name.
CHANNELS_LAST_DOMAIN = "recast.channels_last"

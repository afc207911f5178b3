"""Layer paths from tensor names: TFLite operators have no names of their own."""

from __future__ import annotations

import re

from recast.formats.tflite.read_file import Operator, Subgraph

# last parts of TensorFlow node names that say what is computed, not which layer it is
_OPERATION = re.compile(
    r"^(BiasAdd|Conv2D|Conv3D|conv2d_transpose|depthwise|MatMul|Relu6?|Add|AddV2|add|Mul|mul|Sub|sub|AvgPool|MaxPool|"
    r"Reshape|Softmax|Sigmoid|Tanh|Elu|Selu|LeakyRelu|FusedBatchNorm(V[23])?|batchnorm|concat|Mean|Max|Min|Sum|Pad|"
    r"Squeeze|ExpandDims|Transpose|transpose|Shape|strided_slice|stack|unstack|split|Tile|GatherV2|embedding_lookup|"
    r"ReadVariableOp|resource|read|weights|Const|Prod|Cast)(_?\d+)?$"
)
_EMPTY = re.compile(r"^(Identity|StatefulPartitionedCall|PartitionedCall|tfl\.|arith\.|stablehlo\.|call)[\w.]*(:\d+)?$")
_OWN = {
    "CONV_2D": ("BiasAdd", "Conv2D"),
    "CONV_3D": ("BiasAdd", "Conv3D"),
    "DEPTHWISE_CONV_2D": ("BiasAdd", "depthwise"),
    "TRANSPOSE_CONV": ("BiasAdd", "conv2d_transpose"),
    "FULLY_CONNECTED": ("BiasAdd", "MatMul"),
}
# Recast's own: a weight is called <layer>/<role>, a result <layer>/<operator>_out
_ROLE = re.compile(r"^(kernel|weights?|filter)(_\w+)?$")
_RESULT = re.compile(r"^[A-Z]\w*_out(_\d+)?$")
_UNSAFE = re.compile(r"[^\w./-]")
_LONGEST = 200


def layer_path(operator: Operator, graph: Subgraph) -> str:
    """A readable path such as ``model/conv2d_1``; the operator's kind where the file has no useful name."""
    kind = operator.kind
    names = [graph.tensors[i].name for i in operator.outputs[:1] if i >= 0]
    if kind in _OWN:
        names += [graph.tensors[i].name for i in operator.inputs[1:2] if i >= 0]
    parts = [p for name in names for p in _parts(name)]
    for ending in _OWN.get(kind, ()):
        own = [p for p in parts if re.match(rf"{ending}(_?\d+)?$", p.rsplit("/", 1)[-1])]
        if own:
            chosen = own[0] if kind == "DEPTHWISE_CONV_2D" or ending == "BiasAdd" else own[-1]
            return _trim(chosen)
    if kind in _OWN and parts and _ROLE.match(parts[-1].rsplit("/", 1)[-1]) and "/" in parts[-1]:
        return _trim(parts[-1].rsplit("/", 1)[0])
    return _trim(parts[0]) if parts else _plain(kind)


def _parts(name: str) -> list[str]:
    found = []
    for part in name.split(";"):
        steps = [s for s in re.sub(r":\d+$", "", part.strip()).split("/") if s and not _EMPTY.match(s)]
        if steps:
            found.append("/".join(steps))
    return found


def _trim(path: str) -> str:
    steps = path.split("/")
    while len(steps) > 1 and (_OPERATION.match(steps[-1]) or _RESULT.match(steps[-1])):
        steps.pop()
    return _UNSAFE.sub("_", "/".join(steps))[:_LONGEST] or "layer"


def _plain(kind: str) -> str:
    return _UNSAFE.sub("_", kind.lower())

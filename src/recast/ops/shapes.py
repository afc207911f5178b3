"""Operators that change or read shapes, and those whose axes must stay where they are."""

from recast.ops._fact import Fact

FACTS = {
    "Reshape": Fact("x[...] shape[r] -> y[...]", "reshape", note="dims are merged and split in row-major order"),
    "Flatten": Fact("x[...] -> y[a,b]", "flatten", axis=1),
    "Squeeze": Fact("x[...] axes[a]? -> y[...]", "squeeze"),
    "Unsqueeze": Fact("x[...] axes[a] -> y[...]", "unsqueeze"),
    "Transpose": Fact("x[...] -> y[...]", "transpose"),
    "Shape": Fact("x[...] -> y[r]", "shape"),
    "Size": Fact("x[...] -> y[]", "shape"),
    "ConstantOfShape": Fact("shape[r] -> y[...]", "fixed"),
    "Range": Fact("start[] limit[] delta[] -> y[r]", "fixed"),
    "EyeLike": Fact("x[a,b] -> y[a,b]", "fixed"),
    "Trilu": Fact("x[...] k[]? -> y[...]", "fixed"),
    "OneHot": Fact("indices[...] depth[] values[v] -> y[...]", "fixed"),
    "NonZero": Fact("x[...] -> y[r,e]", "fixed"),
    "Compress": Fact("x[...] condition[c] -> y[...]", "fixed"),
    "GatherElements": Fact("x[...] indices[...] -> y[...]", "fixed", axis=0),
    "GatherND": Fact("x[...] indices[...] -> y[...]", "fixed"),
    "ScatterElements": Fact("x[...] indices[...] updates[...] -> y[...]", "fixed", axis=0),
    "ScatterND": Fact("x[...] indices[...] updates[...] -> y[...]", "fixed"),
    "ReverseSequence": Fact("x[...] length[n] -> y[...]", "fixed"),
    "NonMaxSuppression": Fact("boxes[n,p,q] scores[n,c,p] most[]? iou[]? score[]? -> y[r,e]", "fixed"),
}

"""Operators that work along axes named by an attribute or an input."""

from recast.ops._fact import Fact

_ALONG = Fact("x[...] -> y[...]", "along")
_REDUCE = Fact("x[...] axes[a]? -> y[...]", "reduce")

FACTS = {
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "LpNormalization"), _ALONG),
    "TopK": Fact("x[...] k[1] -> y[...] indices[...]", "along"),
    "CumSum": Fact("x[...] axis[] -> y[...]", "cumulate"),
    **dict.fromkeys(
        [
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSum",
            "ReduceSumSquare",
        ],
        _REDUCE,
    ),
    "ArgMax": Fact("x[...] -> y[...]", "reduce", axis=0),
    "ArgMin": Fact("x[...] -> y[...]", "reduce", axis=0),
    "LayerNormalization": Fact(
        "x[...] scale[...] b[...]? -> y[...] mean[...]? deviation[...]?",
        "trailing",
        weights=((1, None), (2, None)),
        macs="y",
    ),
    "RMSNormalization": Fact("x[...] scale[...] -> y[...]", "trailing", weights=((1, None),), macs="y"),
    "Concat": Fact("x[...]+ -> y[...]", "concat", note="along axis the dims add up"),
    "Split": Fact("x[...] split[p]? -> y[...]+", "split", axis=0, note="along axis the dims add up"),
    "Slice": Fact("x[...] starts[a] ends[a] axes[a]? steps[a]? -> y[...]", "slice"),
    "Pad": Fact("x[...] pads[p] value[]? axes[a]? -> y[...]", "pad"),
    "Tile": Fact("x[...] repeats[r] -> y[...]", "tile"),
    "Expand": Fact("x[...] shape[r] -> y[...]", "expand"),
    "Gather": Fact("x[...] indices[...] -> y[...]", "gather", axis=0, weights=((0, None),)),
}

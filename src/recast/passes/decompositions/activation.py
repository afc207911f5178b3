"""Activations of plainer ones."""

from __future__ import annotations

import onnx_ir as ir

from recast.passes.decompositions import Expansion, Results, decomposes


@decomposes("Swish")
def swish(e: Expansion) -> Results:
    """x · sigmoid(alpha · x) (Ramachandran et al. 2017, equation 1), rounded as ONNX's function body rounds."""
    return (_swish(e, e.input(0)),)


@decomposes("SwiGLU")
def swiglu(e: Expansion) -> Results:
    """The Swish of the first times the second (Shazeer 2020, equation 5)."""
    return (e.op("Mul", _swish(e, e.input(0)), e.input(1)),)


def _swish(e: Expansion, x: ir.Value) -> ir.Value:
    alpha = e.attr("alpha", 1.0)
    return e.op("Mul", x, e.op("Sigmoid", x if alpha == 1 else e.op("Mul", x, e.number(alpha, x))))

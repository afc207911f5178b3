"""Rewrites of the graph: one module each, found by its name. Importing this package loads nothing heavy.

Every pass keeps what the model computes (``to_float16`` within the smaller type's precision), its inputs and outputs
(``layout`` and ``set_batch`` may change their shapes, and say so), and the origin of every node.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from recast.errors import InternalError
from recast.graph.finding import Finding

if TYPE_CHECKING:
    import onnx_ir as ir

IoLayout = Literal["keep", "nhwc", "nchw", "auto"]


@dataclass(frozen=True)
class PassOptions:
    """What a target wants of the passes.

    Attributes:
        layout: the layout of the target's image operators.
        io_layout: the layout of graph inputs and outputs: as in the source, forced, or free.
        batch: fix the batch dimension (a number), make it symbolic (a name), or leave it (None).
        rnn_batch_major: recurrent operators take (batch, time, features): ``layout=1``.
        keep_functions: ONNX function operators that the target has itself; ``inline_functions`` writes all others out
            (None: it writes out those that hardly any target has).
        native: whether the target has a form for a node; ``decompose`` writes all others as plainer operators.
        keep_tied: a weight that two layers share stays one, even if one of them takes it transposed.
    """

    layout: Literal["channels_first", "channels_last"] = "channels_first"
    io_layout: IoLayout = "keep"
    batch: int | str | None = None
    rnn_batch_major: bool = False
    keep_functions: frozenset[str] | None = None
    native: Callable[[ir.Node], bool] | None = None
    keep_tied: bool = False


@cache
def catalogue() -> tuple[str, ...]:
    """Names of all passes: the modules of this folder that are not part of another one (``layout_cut``)."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg)
    return tuple(n for n in names if not n.startswith("_") and not any(n.startswith(f"{p}_") for p in names))


def run(model: ir.Model, names: Sequence[str], options: PassOptions) -> list[Finding]:
    """Run passes in the given order, in place.

    Raises:
        InternalError: there is no pass of that name.
        RecastError: what the passes themselves raise.
    """
    findings: list[Finding] = []
    for name in names:
        if name not in catalogue():
            raise InternalError(f"no pass is called '{name}'", fix=f"one of: {', '.join(catalogue())}")
        findings += importlib.import_module(f"{__name__}.{name}").apply(model, options)
    return findings

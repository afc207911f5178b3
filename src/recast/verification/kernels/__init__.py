"""NumPy meanings of operators for the float64 run: one file per family, registered with ``@kernel``.

A kernel takes a ``Call`` and returns an array or a tuple of arrays. It computes in the precision of its inputs:
float64 in the exact run, the graph's own types in the native run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from recast._util.registry import Registry
from recast.graph.view import attr

Result = np.ndarray | tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Call:
    """One evaluation of one node.

    ``exact``: floats are float64 and casts to float types keep them so. ``jitter``: generator for the rounding
    jitter of quantisers, or None. ``scope``: values visible to sub-graphs. ``subgraph`` evaluates one.
    """

    node: ir.Node
    inputs: tuple[np.ndarray | None, ...]
    exact: bool
    jitter: np.random.Generator | None
    scope: Mapping[str, np.ndarray]
    subgraph: Callable[[ir.Graph, Mapping[str, np.ndarray]], list[np.ndarray]]

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return attr(self.node, name, default)

    def get(self, index: int) -> np.ndarray | None:
        """Input ``index``, or None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def __getitem__(self, index: int) -> np.ndarray:
        value = self.get(index)
        if value is None:
            raise ValueError(f"{self.node.op_type}: input {index} is missing")
        return value


Kernel = Callable[[Call], Result]
kernels: Registry[str, Kernel] = Registry(__name__, __path__)
kernel = kernels.register

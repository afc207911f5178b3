"""Cut the hidden size of a transformer: the axis that all its layers add to and that layer normalisations count over.

Everything that holds a hidden unit goes with it: the column of the embedding (which a tied head shares), of position
and token type tables, of every normalisation's scale, the rows and columns of every product from and to the stream. A
normalisation takes its means over what is left, as in Minitron (Muralidharan et al., Compact Language Models via
Pruning and Knowledge Distillation, NeurIPS 2024, section 2) and LLM-Pruner (Ma et al., NeurIPS 2023): no weight can
undo that, so that unlike ``structured`` the result needs training sooner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recast.compression.prune.structured import Structured


@dataclass(frozen=True)
class Hidden(Structured):
    """``Structured`` for hidden sizes, and for these alone."""

    stream: ClassVar[bool] = True


METHODS = {"hidden": Hidden}

"""Host integers: shapes and indices that Python holds as ``int``: ``Shape → Gather → Reshape`` reads as code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ints:
    """Python expressions of integers; ``scalar``: a rank-0 value (one item), else rank 1.

    ``natural`` says that no item can be negative (only then is ``//`` the same as ONNX's division).
    """

    items: tuple[str, ...]
    scalar: bool = False
    natural: bool = False

    @property
    def constant(self) -> list[int] | None:
        """The numbers, where all are literals."""
        try:
            return [int(i) for i in self.items]
        except ValueError:
            return None

    def code(self) -> str:
        """``3`` or ``[a, 3]``."""
        return self.items[0] if self.scalar else "[" + ", ".join(self.items) + "]"

    def args(self) -> str:
        """``a, 3``: the items as call arguments."""
        return ", ".join(self.items)

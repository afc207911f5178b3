"""Every error Recast raises: what happened, where, and how to mend it.

Each class carries a code (``E1xx`` input, ``E2xx`` target, ``E3xx`` request, ``E4xx`` verdict, ``E9xx`` ours)
and the exit code the command line ends with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

_SHOWN = 12  # kinds of operators named in one message


class RecastError(Exception):
    """Base of the tree: ``str(error)`` is the whole message in three lines.

    Args:
        what: what is wrong, in one sentence.
        where: the place (layer, node, tensor, file, byte offset).
        fix: how the user can mend it.
    """

    code: ClassVar[str] = "E100"
    exit_code: ClassVar[int] = 3

    def __init__(self, what: str, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.fix = what, where, fix

    def __str__(self) -> str:
        lines = [f"[{self.code}] {self.what}"]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  fix:   {self.fix}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str]:
        """The error as data, for ``--json``."""
        return {"code": self.code, "what": self.what, "where": self.where, "fix": self.fix}


class BadModel(RecastError):
    """The file is damaged, or contradicts itself or its format's rules."""

    code = "E101"


class BadShape(BadModel):
    """A tensor's shape does not fit the operator that uses it."""

    code = "E102"


class UnknownFormat(RecastError):
    """No format recognises the file's content or the wanted suffix."""

    code = "E103"


class UnsafeModel(RecastError):
    """The file would run code, or reach outside its own folder; nothing was executed."""

    code = "E110"


class TooLarge(RecastError):
    """The file declares more data than it holds, or than the budget allows."""

    code = "E111"


class UnsupportedOp(RecastError):
    """Operators that the reader does not know or the target cannot express (all of them, not just the first)."""

    code = "E201"


class UnsupportedType(RecastError):
    """An element type that the target does not have."""

    code = "E202"


class ToolFailed(RecastError):
    """A third-party converter, or the installer of one, refused or failed; its own words are quoted."""

    code = "E203"


class BadRecipe(RecastError):
    """The request contradicts itself or the model."""

    code = "E301"
    exit_code = 2


class MissingDependency(RecastError):
    """An optional package is absent, or present but broken."""

    code = "E302"
    exit_code = 2


class OutputExists(RecastError):
    """The output is already there and ``--force`` was not given."""

    code = "E303"
    exit_code = 5


class OutputFailed(RecastError):
    """The output could not be written (disk full, no permission …); nothing was left behind."""

    code = "E304"
    exit_code = 5


class Busy(RecastError):
    """Another run of Recast is at work on the same files."""

    code = "E305"
    exit_code = 4


class ParityFailure(RecastError):
    """The written model does not compute what the source computes."""

    code = "E401"
    exit_code = 6


class BudgetMissed(RecastError):
    """A compressed result is larger, slower or worse than asked."""

    code = "E402"
    exit_code = 6


class RuntimeDied(RecastError):
    """A runtime in its child process crashed, hung or ran out of its limits."""

    code = "E403"
    exit_code = 6


class RuntimeRefused(RuntimeDied):
    """A runtime is well, but refuses a model or the inputs it is fed."""

    code = "E404"


class NoKernel(RuntimeRefused):
    """A runtime has no implementation of an operator in the file, or not for its element type."""

    code = "E405"


class InternalError(RecastError):
    """A defect of Recast itself."""

    code = "E900"
    exit_code = 70


def unread(kinds: Mapping[str, Sequence[str]], where: str, fix: str = "export the model without them") -> UnsupportedOp:
    """The refusal of a reader: all operators that it does not know, and for each kind the places of its nodes."""
    listed = [
        f"{kind} ({len(places)}×, first at {places[0][:80]})" if len(places) > 1 else f"{kind} (at {places[0][:80]})"
        for kind, places in kinds.items()
    ]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    count = sum(map(len, kinds.values()))
    told = f"{count} operators cannot be read: {'; '.join(listed[:_SHOWN])}{more}"
    return UnsupportedOp(told, where, fix)

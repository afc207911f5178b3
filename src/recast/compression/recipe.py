"""What to do to make a model smaller, as data: ``Prune(0.5) >> Distill("teacher.h5") >> Quantize("int8")``.

The command line, TOML files and Python build the same frozen dataclasses.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from recast import compression
from recast.compression._method import Method
from recast.errors import BadRecipe


class _Chained:
    """``a >> b`` makes a sequence."""

    def _steps(self) -> tuple[Step, ...]:
        raise NotImplementedError

    def __rshift__(self, other: _Chained) -> Steps:
        return Steps((*self._steps(), *other._steps()))  # one step may be several

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps())


@dataclass(frozen=True)
class Steps(_Chained):
    """Steps in order."""

    steps: tuple[Step, ...] = ()

    def _steps(self) -> tuple[Step, ...]:
        return self.steps


@dataclass(frozen=True)
class Step(_Chained):
    """One method of one family; ``options`` are the fields of the method's dataclass."""

    family: ClassVar[str] = ""

    def _steps(self) -> tuple[Step, ...]:
        return (self,)

    def chosen(self) -> tuple[str, dict[str, Any]]:
        """The method's name and its options."""
        raise NotImplementedError

    def method(self) -> Method:
        """The method with its options.

        Raises:
            BadRecipe: there is no such method or option, or a value is of the wrong kind.
        """
        name, options = self.chosen()
        kind = compression.method(self.family, name)
        known = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
        if unknown := sorted(options.keys() - set(known)):
            raise BadRecipe(
                f"{self.family} '{name}' has no option {', '.join(unknown)}", fix=f"known: {', '.join(known) or 'none'}"
            )
        return kind(**options)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: family, method, options."""
        name, options = self.chosen()
        plain = {k: v.name if isinstance(v, Path) else v for k, v in options.items()}
        return {"family": self.family, "method": name, "options": plain}


@dataclass(frozen=True)
class Prune(Step):
    """Remove weights (``magnitude`` …) or, with ``structured``, whole neurons and channels.

    Attributes:
        amount: share to remove, 0–1.
        threshold: remove what is smaller than this.
        structured: cut channels, so that shapes shrink.
        kind: the method's name; "" is ``structured`` or ``magnitude``.
        options: further options of the method.
        budget: cut channels until this is met: ``macs<0.5``, ``parameters<400K``, ``latency<2ms``, or several.
    """

    family: ClassVar[str] = "prune"
    amount: float | None = None
    threshold: float | None = None
    structured: bool = False
    kind: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    budget: str = ""

    def chosen(self) -> tuple[str, dict[str, Any]]:
        """See ``Step``."""
        given = {"amount": self.amount, "threshold": self.threshold, "budget": self.budget or None}
        options = {k: v for k, v in given.items() if v is not None} | dict(self.options)
        return self.kind or ("structured" if self.structured or self.budget else "magnitude"), options


@dataclass(frozen=True)
class Distill(Step):
    """Train the model to answer as ``teacher`` does.

    Attributes:
        teacher: a file of any format; "": the model itself, as it was before the first step.
        kind: the method's name.
        options: further options of the method.
        student: what is trained: "": the model at hand; ``width 0.5``: a copy with half of its channels; ``depth
            0.5``: with half of its repeated blocks; or both, with a comma. What is kept keeps its weights.
    """

    family: ClassVar[str] = "distill"
    teacher: str | Path = ""
    kind: str = "logits"
    options: Mapping[str, Any] = field(default_factory=dict)
    student: str = ""

    def _steps(self) -> tuple[Step, ...]:
        return (*_student(self.student), dataclasses.replace(self, student=""))

    def chosen(self) -> tuple[str, dict[str, Any]]:
        """See ``Step``."""
        return self.kind, {"teacher": str(self.teacher), **self.options}


def _student(text: str) -> Iterator[Prune]:
    """The steps that make a student from the model."""
    for part in filter(None, (p.strip() for p in text.split(","))):
        what, _, number = part.partition(" ")
        try:
            share = float(number)
        except ValueError:
            share = 0.0
        if what not in _REDUCED or not 0 < share < 1:
            raise BadRecipe(f"student '{part}'", fix="width 0.5, depth 0.5, or both with a comma")
        yield Prune(round(1 - share, 6), kind=_REDUCED[what])


@dataclass(frozen=True)
class Factorize(Step):
    """Write large matrices as products of small ones, or as palettes."""

    family: ClassVar[str] = "factorize"
    kind: str = "svd"
    options: Mapping[str, Any] = field(default_factory=dict)

    def chosen(self) -> tuple[str, dict[str, Any]]:
        """See ``Step``."""
        return self.kind, dict(self.options)


@dataclass(frozen=True)
class Quantize(Step):
    """Store (and, where the target can, compute) in fewer bits: ``int8``, ``int8-dynamic``, ``int4``, ``float16`` …"""

    family: ClassVar[str] = "quantize"
    kind: str = "int8"
    options: Mapping[str, Any] = field(default_factory=dict)

    def chosen(self) -> tuple[str, dict[str, Any]]:
        """See ``Step``."""
        return self.kind, dict(self.options)


_REDUCED = {"width": "structured", "depth": "depth"}
_KINDS: dict[str, type[Step]] = {k.family: k for k in (Prune, Distill, Factorize, Quantize)}
_FIRST = {"prune": "amount", "distill": "teacher", "factorize": "kind", "quantize": "kind"}


def from_toml(path: Path) -> Steps:
    """Read a recipe file::

        [[step]]
        prune = 0.5                                  # or {amount = 0.5, structured = true}
        [[step]]
        quantize = {kind = "int8", options = {rounding = "adaround"}}

    Raises:
        BadRecipe: it is no TOML, or says what is not known.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRecipe(f"the recipe cannot be read: {error}", str(path), "see docs/reference/recipes.md") from error
    steps = told.get("step")
    if set(told) != {"step"} or not isinstance(steps, list):
        raise BadRecipe("a recipe holds [[step]] tables and nothing else", str(path), "[[step]]\nquantize = 'int8'")
    return Steps(tuple(made for s in steps for made in _step(s, str(path))))


def _step(told: Any, where: str) -> Step:
    if not isinstance(told, dict) or len(told) != 1 or next(iter(told)) not in _KINDS:
        raise BadRecipe("a step names one family", where, f"one of: {', '.join(_KINDS)}")
    family, value = next(iter(told.items()))
    options = value if isinstance(value, dict) else {_FIRST[family]: value}
    try:
        return _KINDS[family](**options)
    except TypeError as error:
        raise BadRecipe(f"{family}: {error}", where, "see docs/reference/recipes.md") from error

"""Handlers are found by folder, once each, and say which things they take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recast._util.registry import Registry

_FAMILY = """
from family_of_{name} import handlers

@handlers.register("Add", "Sub", when=lambda thing: thing > {least})
def plain(): ...
"""


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An importable package with two modules and a package inside that must not be imported."""
    name = tmp_path.name
    package = tmp_path / f"family_of_{name}"
    (package / "support").mkdir(parents=True)
    (package / "support" / "__init__.py").write_text("raise ImportError('runs where the model runs')")
    made = "from recast._util.registry import Registry\nhandlers = Registry(__name__, __path__)\n"
    (package / "__init__.py").write_text(made)
    (package / "arithmetic.py").write_text(_FAMILY.format(name=name, least=3))
    (package / "_constants.py").write_text(f"from family_of_{name} import handlers\nhandlers.add('Constant', None)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package.name
    for module in [m for m in sys.modules if m.startswith(package.name)]:
        del sys.modules[module]


def test_modules_are_imported_at_the_first_look_and_packages_never(family: str) -> None:
    handlers = __import__(family).handlers
    assert f"{family}.arithmetic" not in sys.modules
    assert sorted(handlers()) == ["Add", "Constant", "Sub"]
    assert f"{family}.support" not in sys.modules


def test_a_handler_takes_what_its_condition_says(family: str) -> None:
    handlers = __import__(family).handlers
    assert handlers.takes("Add", 5)
    assert not handlers.takes("Add", 2)
    assert handlers.takes("Constant", object())
    assert not handlers.takes("Mul", 5)


def test_two_handlers_of_one_key_are_refused() -> None:
    handlers: Registry[str, object] = Registry("here", [])
    handlers.add("Add", object())
    with pytest.raises(ValueError, match="two handlers of Add"):
        handlers.register("Sub", "Add")(object())

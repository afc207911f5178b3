"""Put off imports that a library makes at its start and hardly ever uses."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands in ``sys.modules`` for a module; the first attribute that is asked of it loads the real one.

    (The standard library's ``LazyLoader`` loads at the second ``import`` already: the statement reads ``__spec__``.)
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__version__":  # whoever looks over all modules asks these
            raise AttributeError(name)
        real = self._load()
        self.__dict__.update(real.__dict__)
        return getattr(real, name)

    def _load(self) -> ModuleType:
        parent = sys.modules.get(self.__name__.rpartition(".")[0])
        if isinstance(parent, _Deferred):  # a package loads before its modules
            parent._load()
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return importlib.import_module(self.__name__)


def defer(name: str) -> None:
    """Let ``import name`` give a stand-in that loads the module at its first use.

    Nothing happens if the module is loaded already or not installed. A package is deferred before its modules.
    """
    if name in sys.modules:
        return
    locations: list[str] | None = None
    for end in range(1, name.count(".") + 2):  # without importing the parents
        spec = PathFinder.find_spec(".".join(name.split(".")[:end]), locations)
        if spec is None:
            return
        locations = list(spec.submodule_search_locations or [])
    module = _Deferred(name)
    module.__spec__ = spec
    sys.modules[name] = module
    parent, _, leaf = name.rpartition(".")
    if parent in sys.modules:  # as an import would
        setattr(sys.modules[parent], leaf, module)


@contextmanager
def standing_in(name: str, **attributes: Any) -> Iterator[None]:
    """Let ``from name import attribute`` inside give these objects, and load nothing; nothing is left behind.

    Nothing happens if the module is loaded already.
    """
    if name in sys.modules:
        yield
        return
    module = ModuleType(name)
    module.__dict__.update(attributes)
    sys.modules[name] = module
    try:
        yield
    finally:
        if sys.modules.get(name) is module:
            del sys.modules[name]

"""Handlers by key, one file per family: the modules of a package register theirs, and are imported at the first look.

handlers: Registry[str, Handler] = Registry(__name__, __path__)
reads = handlers.register

@reads("CONV_2D")            # in any module of the package
def conv(call): ...

handlers()["CONV_2D"]
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
H = TypeVar("H")


class Registry(Generic[K, H]):
    """What the modules of a package registered; packages inside it (run-time support files) are not looked into."""

    def __init__(self, package: str, path: Iterable[str]) -> None:
        """Take the package's ``__name__`` and ``__path__``; nothing is imported yet."""
        self._package, self._path = package, path
        self._found: dict[K, H] = {}
        self._tests: dict[K, Callable[[Any], bool]] = {}  # what a handler takes, where it does not take all
        self._complete = False

    def add(self, key: K, handler: H) -> None:
        """Register one handler.

        Raises:
            ValueError: the key has one already.
        """
        if key in self._found:
            raise ValueError(f"{self._package}: two handlers of {key}")
        self._found[key] = handler

    def register(self, *keys: K, when: Callable[[Any], bool] | None = None) -> Callable[[H], H]:
        """Register the decorated function under each key; ``when`` tells what it takes (see ``takes``).

        Raises:
            ValueError: a key has one already.
        """

        def decorate(handler: H) -> H:
            for key in keys:
                self.add(key, handler)
                if when is not None:
                    self._tests[key] = when
            return handler

        return decorate

    def takes(self, key: K, thing: Any) -> bool:
        """Whether there is a handler of the key that takes a thing (such as a node) as it is."""
        if key not in self():
            return False
        test = self._tests.get(key)
        return test is None or test(thing)

    def __call__(self) -> dict[K, H]:
        """Every handler by its key."""
        if not self._complete:
            for module in pkgutil.iter_modules(self._path):
                if not module.ispkg:
                    importlib.import_module(f"{self._package}.{module.name}")
            self._complete = True
        return self._found

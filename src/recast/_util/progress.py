"""Progress events: the core emits, the command line and the page draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One step of a long task. ``total`` is None while it is unknown."""

    task: str
    done: int = 0
    total: int | None = None


Listener = Callable[[Event], None]
_listener: ContextVar[Listener | None] = ContextVar("recast_progress", default=None)


def emit(task: str, done: int = 0, total: int | None = None) -> None:
    """Tell the listener, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(Event(task, done, total))


def current() -> Listener | None:
    """The listener, to be called from another thread (a new thread does not inherit it)."""
    return _listener.get()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send the events of a ``with`` block to ``listener``."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)

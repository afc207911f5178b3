"""An inert pickle interpreter: it builds containers, strings, numbers and tensor descriptions, and calls nothing.

Pickle is a program for a small stack machine (opcodes: CPython's ``pickletools`` documents them). Python's own machine
imports and calls whatever the program names. This one looks names up in a short table of *descriptions*; a call of any
other name is refused, so no file can make it execute, import or open anything.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from recast.errors import BadModel, TooLarge, UnsafeModel

MAX_OPCODES = 20_000_000
MAX_MEMO = 2_000_000


@dataclass(frozen=True)
class Global:
    """A name that the program mentions; it is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Instance:
    """An object of a class: its state as plain data."""

    kind: Global
    arguments: tuple[Any, ...] = ()
    state: Any = None


Call = Callable[..., Any]


class _Mark:
    pass


_MARK = _Mark()


@dataclass
class Machine:
    """Runs one pickle program over bytes.

    Args:
        data: the file.
        position: where the program starts; after ``run`` it stands behind the program.
        calls: what a REDUCE of a name gives, by full name. Anything else is refused.
        persistent: what a persistent id (a storage) gives.
        where: for errors.
    """

    data: memoryview
    position: int
    calls: dict[str, Call]
    persistent: Callable[[Any], Any]
    where: str
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self) -> Any:
        """Run to STOP and return the result.

        Raises:
            BadModel: the program is damaged.
            UnsafeModel: it calls a name that is not in the table.
            TooLarge: it runs over the limits.
        """
        for _ in range(MAX_OPCODES):
            code = self._take(1)[0]
            if code == 0x2E:  # STOP
                return self._pop()
            handler = _OPCODES.get(code)
            if handler is None:
                raise BadModel(f"unknown pickle opcode 0x{code:02x} at byte {self.position - 1}", self.where, _AGAIN)
            try:
                handler(self)
            except (struct.error, UnicodeDecodeError, IndexError, KeyError, TypeError, ValueError) as error:
                raise BadModel(
                    f"damaged pickle at byte {self.position} ({type(error).__name__})", self.where, _AGAIN
                ) from error
        raise TooLarge(f"more than {MAX_OPCODES} pickle opcodes", self.where, "this is no checkpoint")

    # --- reading bytes
    def _take(self, count: int) -> memoryview:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise TooLarge(f"the pickle wants {count} bytes at {self.position}, beyond its end", self.where, _AGAIN)
        piece, self.position = self.data[self.position : end], end
        return piece

    def _number(self, layout: str) -> int:
        (value,) = struct.unpack(layout, self._take(struct.calcsize(layout)))
        return int(value)

    def _line(self) -> bytes:
        limit = min(len(self.data), self.position + 100_000)
        piece = bytes(self.data[self.position : limit])
        end = piece.find(b"\n")
        if end < 0:
            raise BadModel("a text line without end", self.where, _AGAIN)
        self.position += end + 1
        return piece[:end]

    # --- stack
    def _pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("mark")
        return value

    def _to_mark(self) -> list[Any]:
        index = len(self.stack) - 1
        while self.stack[index] is not _MARK:
            index -= 1
            if index < 0:
                raise IndexError("no mark")
        items = self.stack[index + 1 :]
        del self.stack[index:]
        return items

    def _remember(self, key: int) -> None:
        if len(self.memo) >= MAX_MEMO:
            raise TooLarge("the pickle's memo is too large", self.where, _AGAIN)
        self.memo[key] = self.stack[-1]

    # --- objects
    def _reduce(self) -> None:
        arguments, kind = self._pop(), self._pop()
        if not isinstance(kind, Global) or not isinstance(arguments, tuple):
            raise ValueError("REDUCE of no name")
        call = self.calls.get(str(kind))
        if call is None:
            raise UnsafeModel(
                f"the checkpoint wants to call '{kind}'; nothing was executed",
                f"{self.where}, byte {self.position}",
                "save only weights (torch.save(model.state_dict(), ...)); distrust files from others that do this",
            )
        self.stack.append(call(*arguments))

    def _new(self) -> None:
        arguments, kind = self._pop(), self._pop()
        if not isinstance(kind, Global):
            raise ValueError("NEWOBJ of no class")
        call = self.calls.get(str(kind))
        self.stack.append(call(*arguments) if call else Instance(kind, tuple(arguments)))

    def _build(self) -> None:
        state = self._pop()
        target = self.stack[-1]
        if isinstance(target, Instance):
            target.state = state
        elif isinstance(target, dict):  # OrderedDict's attributes (``_metadata``) are not weights
            return
        elif hasattr(target, "set_state"):
            target.set_state(state)
        else:
            raise ValueError("BUILD of a plain value")

    def _append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(items)
        else:
            raise ValueError("APPEND to no list")

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Instance):
            target.state = {"state": target.state, "items": dict(zip(items[::2], items[1::2], strict=True))}
            return
        if not isinstance(target, dict):
            raise ValueError("SETITEMS on no dict")
        target.update(zip(items[::2], items[1::2], strict=True))


_AGAIN = "the file is damaged: copy or save it again"


def _long(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _text_number(line: bytes) -> int | bool:
    return {b"00": False, b"01": True}.get(line) if line in (b"00", b"01") else int(line[:100])  # type: ignore[return-value]


def _push(make: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    def handler(m: Machine) -> None:
        m.stack.append(make(m))

    return handler


def _global(m: Machine) -> Global:
    return Global(m._line().decode(), m._line().decode())


def _stack_global(m: Machine) -> Global:
    name, module = m._pop(), m._pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise ValueError("STACK_GLOBAL of no text")
    return Global(module, name)


def _tuple(count: int) -> Callable[[Machine], None]:
    def handler(m: Machine) -> None:
        items = tuple(m._pop() for _ in range(count))[::-1]
        m.stack.append(items)

    return handler


def _pop_any(m: Machine) -> None:
    m.stack.pop()


def _dict_from_mark(m: Machine) -> dict[Any, Any]:
    items = m._to_mark()
    return dict(zip(items[::2], items[1::2], strict=True))


_OPCODES: dict[int, Callable[[Machine], None]] = {
    0x80: lambda m: _ignore(m._take(1)),  # PROTO
    0x95: lambda m: _ignore(m._take(8)),  # FRAME
    ord("("): lambda m: m.stack.append(_MARK),
    ord("0"): _pop_any,
    ord("1"): lambda m: _ignore(m._to_mark()),
    ord("2"): lambda m: m.stack.append(m.stack[-1]),
    ord("N"): lambda m: m.stack.append(None),
    0x88: lambda m: m.stack.append(True),
    0x89: lambda m: m.stack.append(False),
    ord("I"): _push(lambda m: _text_number(m._line())),
    ord("L"): _push(lambda m: int(m._line().rstrip(b"L")[:1000])),
    ord("F"): _push(lambda m: float(m._line())),
    ord("G"): _push(lambda m: struct.unpack(">d", m._take(8))[0]),
    ord("J"): _push(lambda m: m._number("<i")),
    ord("K"): _push(lambda m: m._number("<B")),
    ord("M"): _push(lambda m: m._number("<H")),
    0x8A: _push(lambda m: _long(bytes(m._take(m._number("<B"))))),
    0x8B: _push(lambda m: _long(bytes(m._take(m._number("<I"))))),
    ord("V"): _push(lambda m: m._line().decode("raw-unicode-escape")),
    ord("X"): _push(lambda m: str(m._take(m._number("<I")), "utf8", "surrogatepass")),
    0x8C: _push(lambda m: str(m._take(m._number("<B")), "utf8", "surrogatepass")),
    0x8D: _push(lambda m: str(m._take(m._number("<Q")), "utf8", "surrogatepass")),
    ord("S"): _push(lambda m: m._line().strip(b"'\"").decode("latin1")),
    ord("T"): _push(lambda m: bytes(m._take(m._number("<i"))).decode("latin1")),
    ord("U"): _push(lambda m: bytes(m._take(m._number("<B"))).decode("latin1")),
    ord("B"): _push(lambda m: bytes(m._take(m._number("<I")))),
    ord("C"): _push(lambda m: bytes(m._take(m._number("<B")))),
    0x8E: _push(lambda m: bytes(m._take(m._number("<Q")))),
    0x96: _push(lambda m: bytes(m._take(m._number("<Q")))),
    ord("]"): _push(lambda m: []),
    ord("}"): _push(lambda m: {}),
    ord(")"): _push(lambda m: ()),
    0x8F: _push(lambda m: set()),
    ord("l"): _push(lambda m: m._to_mark()),
    ord("d"): _push(_dict_from_mark),
    ord("t"): _push(lambda m: tuple(m._to_mark())),
    0x91: _push(lambda m: frozenset(m._to_mark())),
    0x85: _tuple(1),
    0x86: _tuple(2),
    0x87: _tuple(3),
    ord("a"): lambda m: m._append([m._pop()]),
    ord("e"): lambda m: m._append(m._to_mark()),
    0x90: lambda m: m._append(m._to_mark()),
    ord("s"): lambda m: m._set_items([m._pop(), m._pop()][::-1]),
    ord("u"): lambda m: m._set_items(m._to_mark()),
    ord("p"): lambda m: m._remember(int(m._line()[:20])),
    ord("q"): lambda m: m._remember(m._number("<B")),
    ord("r"): lambda m: m._remember(m._number("<I")),
    0x94: lambda m: m._remember(len(m.memo)),
    ord("g"): _push(lambda m: m.memo[int(m._line()[:20])]),
    ord("h"): _push(lambda m: m.memo[m._number("<B")]),
    ord("j"): _push(lambda m: m.memo[m._number("<I")]),
    ord("c"): _push(_global),
    0x93: _push(_stack_global),
    ord("R"): Machine._reduce,
    0x81: Machine._new,
    ord("b"): Machine._build,
    ord("P"): _push(lambda m: m.persistent(m._line().decode())),
    ord("Q"): _push(lambda m: m.persistent(m._pop())),
}


def _ignore(value: Any) -> None:
    del value

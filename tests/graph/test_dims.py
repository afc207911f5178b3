"""Sums as dimensions: read, written in one way, added, filled in."""

from __future__ import annotations

import pytest

from recast.graph import dims


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("past + new", {"past": 1, "new": 1}),
        ("2*h - 1", {"h": 2, "": -1}),
        ("-h + 7", {"h": -1, "": 7}),
        ("seq-len", {"seq-len": 1}),
        ("floor(h/2)", {"floor(h/2)": 1}),
        ("h + floor(h/2)", {"h + floor(h/2)": 1}),
        ("h - h", {"": 0}),
    ],
)
def test_parse(text: str, terms: dict[str, int]) -> None:
    assert dims.parse(text) == terms


def test_a_sum_is_written_in_one_way() -> None:
    assert dims.text(dims.parse("s + p + 3")) == dims.text(dims.parse("3 + p + s")) == "p + s + 3"
    assert dims.text(dims.parse("-a + b")) == "b - a"
    assert dims.text(dims.parse("7")) == 7


def test_add_and_substitute() -> None:
    assert dims.add("p + s", "s", -1) == "p"
    assert dims.add("s", "s", -1) == 0
    assert dims.substitute("s1 + s2", {"s1": "past", "s2": "new + 1"}) == "new + past + 1"


def test_filled() -> None:
    assert dims.names(["b", 3, "p + s", None]) == ["b", "p", "s"]
    assert dims.filled(["b", 3, "p + 2*s - 1"], {"b": 2, "p": 0, "s": 5}) == (2, 3, 9)
    with pytest.raises(KeyError):
        dims.filled(["b"], {})

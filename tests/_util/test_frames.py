"""Frames carry any array bit by bit."""

from __future__ import annotations

import io

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recast._util import frames


def through(array: np.ndarray) -> np.ndarray:
    stream = io.BytesIO()
    frames.send(stream, {"a": 1}, {"x": array})
    stream.seek(0)
    header, arrays = frames.receive(stream)
    assert header == {"a": 1}
    return arrays["x"]


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int8, np.uint8, np.int64, np.bool_, np.float16]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
def test_bit_equal(array: np.ndarray) -> None:
    back = through(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_extended_types(dtype: type) -> None:
    array = np.arange(7).astype(dtype).T
    assert through(array).tobytes() == array.tobytes()


def test_a_cut_stream_is_an_error() -> None:
    stream = io.BytesIO()
    frames.send(stream, {}, {"x": np.ones(9)})
    with pytest.raises(EOFError):
        frames.receive(io.BytesIO(stream.getvalue()[:-1]))


def test_a_huge_header_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        frames.receive(io.BytesIO(b"\xff" * 64))

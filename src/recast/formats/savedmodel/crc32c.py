"""CRC-32C (Castagnoli, RFC 3720) in NumPy: many lanes of the data side by side, joined by linearity.

``crc(a + b) = shift(crc(a), len(b)) ^ crc(b)``, where appending zero bytes (``shift``) is linear over GF(2)
(zlib's ``crc32_combine``).
"""

from __future__ import annotations

from functools import cache

import numpy as np

_POLYNOMIAL = 0x82F63B78
_LANES = 4096
_LONG = 1 << 16  # below this one lane is as fast


@cache
def _table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


@cache
def _plain_table() -> list[int]:
    return [int(v) for v in _table()]


def _one_lane(data: memoryview, state: int) -> int:
    table = _plain_table()
    for byte in bytes(data):
        state = table[(state ^ byte) & 0xFF] ^ state >> 8
    return state


def _apply(matrix: list[int], vector: int) -> int:
    total = 0
    for column in matrix:
        if vector & 1:
            total ^= column
        vector >>= 1
    return total


def _shifter(size_bytes: int) -> list[int]:
    """The matrix (its 32 columns) that appends that many zero bytes."""
    table = _plain_table()
    step = [table[(1 << i) & 0xFF] ^ (1 << i) >> 8 for i in range(32)]
    result = [1 << i for i in range(32)]
    while size_bytes:
        if size_bytes & 1:
            result = [_apply(step, column) for column in result]
        step = [_apply(step, column) for column in step]
        size_bytes >>= 1
    return result


def crc32c(data: memoryview) -> int:
    """The checksum of bytes."""
    if len(data) < _LONG:
        return _one_lane(data, 0xFFFFFFFF) ^ 0xFFFFFFFF
    width = len(data) // _LANES
    rows = np.frombuffer(data[: width * _LANES], np.uint8).reshape(_LANES, width)
    table, states = _table(), np.zeros(_LANES, np.uint32)
    states[0] = 0xFFFFFFFF
    for start in range(0, width, 256):  # a slice at a time, so that the transposed copy stays small
        for column in np.ascontiguousarray(rows[:, start : start + 256].T):
            states = table[(states ^ column) & 0xFF] ^ states >> 8
    shift, total = _shifter(width), 0
    for state in states.tolist():
        total = _apply(shift, total) ^ state
    return _one_lane(data[width * _LANES :], total) ^ 0xFFFFFFFF


def masked(data: memoryview) -> int:
    """LevelDB's stored form of the checksum: rotated, and a constant added."""
    value = crc32c(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF

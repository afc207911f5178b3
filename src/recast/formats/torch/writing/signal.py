"""Fourier transforms, windows of time, mel filters, n-gram counts."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from recast.formats.torch.writing import Refuse, writes
from recast.formats.torch.writing._emitter import Emitter
from recast.formats.torch.writing._literals import literal
from recast.formats.torch.writing._types import FLOATS, INTEGERS
from recast.formats.torch.writing.elementwise import input_type
from recast.formats.torch.writing.reshape import device, rank_of
from recast.graph import view


def host_number(e: Emitter, node: ir.Node, index: int) -> str:
    """A scalar input as a Python number, ``None`` where it is absent."""
    if e.value(node, index) is None:
        return "None"
    ints, array = e.ints(node, index), e.const(node, index)
    if ints is not None:
        return ints.items[0]
    return literal(array.reshape(-1)[0]) if array is not None else f"{e.x(node, index)}.item()"


@writes("DFT")
def dft(e: Emitter, node: ir.Node) -> str:
    axis = "-2" if e.value(node, 2) is None else host_number(e, node, 2)
    if input_type(node) not in FLOATS or input_type(node) == ir.DataType.BFLOAT16:
        raise Refuse("PyTorch transforms no such type")
    flags = f"{bool(view.attr(node, 'inverse', 0))}, {bool(view.attr(node, 'onesided', 0))}"
    return f"{e.helper('fourier')}({e.x(node)}, {host_number(e, node, 1)}, {axis}, {flags})"


@writes("STFT")
def stft(e: Emitter, node: ir.Node) -> str:
    if input_type(node) not in FLOATS or input_type(node) == ir.DataType.BFLOAT16:
        raise Refuse("PyTorch transforms no such type")
    signal = e.x(node)
    if rank_of(node) == 2:  # real signals may come without their last axis
        signal = f"{signal}.unsqueeze(-1)"
    args = f"{host_number(e, node, 1)}, {e.optional(node, 2)}, {host_number(e, node, 3)}"
    return f"{e.helper('short_time_fourier')}({signal}, {args}, {bool(view.attr(node, 'onesided', 1))})"


@writes("MelWeightMatrix")
def mel_weight_matrix(e: Emitter, node: ir.Node) -> str:
    numbers = ", ".join(host_number(e, node, i) for i in range(5))
    place = device(e).removeprefix(", device=") or 'torch.device("cpu")'
    return f"{e.helper('mel_weights')}({numbers}, {e.dtype(node.outputs[0])}, {place})"


@writes("TfIdfVectorizer")
def tf_idf(e: Emitter, node: ir.Node) -> str:
    mode, weights = view.attr(node, "mode"), view.attr(node, "weights")
    places, items = view.attr(node, "ngram_indexes"), view.attr(node, "pool_int64s")
    if not items or input_type(node) not in INTEGERS:
        raise Refuse("PyTorch has no strings")
    if mode not in ("TF", "IDF", "TFIDF"):
        raise Refuse(f"mode {mode!r}")
    if weights and mode != "TF" and places != list(range(len(weights))):
        raise Refuse("weights of n-grams whose places are not in order: ONNX does not say which belongs to which")
    pools = ", ".join(f"({grams}, {where})" for grams, where in _pools(e, node, items, places))
    size = max(places) + 1
    args = f"{e.x(node)}, [{pools}], {view.attr(node, 'max_skip_count')}, {size}"
    counts = f"{e.helper('count_grams')}({args})"
    if mode == "IDF":
        counts = f"({counts} > 0)"
    counts = f"{counts}.to({e.dtype(node.outputs[0])})"
    if weights and mode != "TF":
        counts += f" * {_made(e, node, 'weights', np.array(weights, np.float32))}"
    return counts


def _pools(e: Emitter, node: ir.Node, items: list[int], places: list[int]) -> list[tuple[str, str]]:
    """n-grams of every wanted length, and where each is counted; of equal ones the last counts."""
    starts = [*view.attr(node, "ngram_counts"), len(items)]
    shortest, longest = view.attr(node, "min_gram_length"), view.attr(node, "max_gram_length")
    made, number = [], 0
    for index, (start, end) in enumerate(zip(starts, starts[1:], strict=False)):
        n = index + 1
        grams = {}
        for at in range(start, end - n + 1, n):
            grams[tuple(items[at : at + n])] = places[number]
            number += 1
        if grams and shortest <= n <= longest:
            table = _made(e, node, f"grams_{n}", np.array(list(grams), np.int64))
            made.append((table, _made(e, node, f"places_{n}", np.array(list(grams.values()), np.int64))))
    return made


def _made(e: Emitter, node: ir.Node, role: str, array: np.ndarray) -> str:
    """A table that is an attribute in ONNX, as a buffer."""
    tensor = ir.tensor(array, name=f"{view.layer_of(node)}/{role}")
    value = ir.Value(
        name=f"const/{tensor.name}", shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    return e.constant(value, [role])

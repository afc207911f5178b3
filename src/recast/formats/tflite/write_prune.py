"""Drop what nothing uses: operators, tensors and buffers left over by fusing."""

from __future__ import annotations

from recast.formats.tflite.flat_write import Blob
from recast.formats.tflite.writing.emitter import Emitter


def prune(emitter: Emitter, inputs: list[int], outputs: list[int]) -> tuple[list[int], list[int]]:
    """Keep the operators that lead to an output and the tensors they name; the graph's new tensor numbers."""
    needed = set(outputs)
    kept = []
    for op in reversed(emitter.operators):
        if needed.isdisjoint(op.outputs):
            continue
        kept.append(op)
        needed.update(op.inputs)
        needed.update(op.outputs)
    kept.reverse()
    needed.update(inputs)
    needed.discard(-1)
    order = sorted(needed)
    number = {old: new for new, old in enumerate(order)}
    number[-1] = -1
    for op in kept:
        op.inputs = [number[i] for i in op.inputs]
        op.outputs = [number[i] for i in op.outputs]
    emitter.operators = kept
    emitter.tensors = [emitter.tensors[i] for i in order]
    return [number[i] for i in inputs], [number[i] for i in outputs]


def used_buffers(emitters: list[Emitter]) -> list[Blob | None]:
    """The buffers of the remaining tensors, numbered anew; the first is the empty one."""
    blobs: list[Blob | None] = [None]
    number = {0: 0}
    for emitter in emitters:
        for tensor in emitter.tensors:
            if tensor.buffer not in number:
                number[tensor.buffer] = len(blobs)
                blobs.append(emitter.buffers.blobs[tensor.buffer])
            tensor.buffer = number[tensor.buffer]
    return blobs

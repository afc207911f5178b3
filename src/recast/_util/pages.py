"""Keep mapped files from piling up in memory: what has been used is handed back to the kernel.

Pages of a mapped file count as the process's memory until they are dropped. A conversion reads every weight once, so
without this the peak would follow the whole model; with it, the largest tensor.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import sys
import weakref

_PAGEOUT = 21  # MADV_PAGEOUT of Linux 5.4: reclaim; clean pages of files are dropped, nothing else is lost
_STEP = 64 << 20  # bytes used between two drops

_watched: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
_used = 0


def watch(mapping: mmap.mmap) -> mmap.mmap:
    """Let ``used`` drop the pages of a read-only file mapping; returns it."""
    _watched.add(mapping)
    return mapping


def used(size: int) -> None:
    """Say that ``size`` bytes of weights were read and will hardly be wanted again.

    From time to time the pages of all watched mappings are dropped; whoever reads them again finds the file's bytes.
    Nothing happens where the system has no such call (Windows).
    """
    global _used
    _used += size
    if _used < _STEP or not hasattr(mmap, "MADV_DONTNEED"):
        return
    _used = 0
    for mapping in list(_watched):
        if not mapping.closed:
            mapping.madvise(mmap.MADV_DONTNEED)


def reclaim(address: int, size: int) -> None:
    """Ask the kernel to take back memory that somebody else mapped (a PyTorch tensor's); its content stays.

    Nothing happens on other systems than Linux.
    """
    if sys.platform != "linux":
        return
    start = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (address + size - start) // mmap.PAGESIZE * mmap.PAGESIZE
    if length > 0:
        ctypes.CDLL(None, use_errno=True).madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _PAGEOUT)


def trim() -> None:
    """Give back what is free inside of this process's heap, cycles of dead objects first.

    Only glibc has such a call; elsewhere just the objects go.
    """
    gc.collect()
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))

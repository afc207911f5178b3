"""Which of several processes this is, where ``torchrun`` started the program more than once."""

from __future__ import annotations

import os

_STARTED = "TORCHELASTIC_RUN_ID"  # set by torchrun only: RANK alone may be somebody else's


def size() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", 1)) if _STARTED in os.environ else 1


def rank() -> int:
    """The number of this one, from 0."""
    return int(os.environ.get("RANK", 0)) if size() > 1 else 0


def first() -> bool:
    """Whether this is the one that writes files and speaks."""
    return rank() == 0

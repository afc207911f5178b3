"""Recast: convert neural networks between frameworks, make them smaller, and prove what was done."""

from __future__ import annotations

__version__ = "0.1.0"

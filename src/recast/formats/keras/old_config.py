"""Entries of old configs that Keras 3 refuses although they change nothing."""

from __future__ import annotations

from typing import Any

_NEVER = {"DepthwiseConv2D": ("groups",), "Conv2DTranspose": ("groups",), "InputLayer": ("ragged", "sparse")}
_NEVER_ANYWHERE = ("time_major", "implementation")


def cleaned(config: Any) -> Any:
    """A copy of a model's config without the entries that only old versions of Keras know."""
    if isinstance(config, list):
        return [cleaned(item) for item in config]
    if not isinstance(config, dict):
        return config
    out = {key: cleaned(value) for key, value in config.items()}
    inner = out.get("config")
    if isinstance(inner, dict) and isinstance(out.get("class_name"), str):
        for key in (*_NEVER.get(out["class_name"], ()), *_NEVER_ANYWHERE):
            inner.pop(key, None)
    return out

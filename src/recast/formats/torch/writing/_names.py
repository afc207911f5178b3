"""Names from files become Python identifiers, never anything else."""

from __future__ import annotations

import builtins
import keyword
import re

# Attributes of nn.Module, ModuleDict and ModuleList that a submodule or parameter must not hide.
_MODULE_ATTRIBUTES = frozenset({
    "T_destination", "add_module", "append", "apply", "bfloat16", "buffers", "call_super_init", "children",
    "clear", "compile", "cpu", "cuda", "double", "dump_patches", "eval", "extend", "extra_repr", "float",
    "forward", "get_buffer", "get_extra_state", "get_parameter", "get_submodule", "half", "insert", "ipu",
    "items", "keys", "load_state_dict", "modules", "mtia", "named_buffers", "named_children", "named_modules",
    "named_parameters", "parameters", "pop", "register_backward_hook", "register_buffer", "register_forward_hook",
    "register_forward_pre_hook", "register_full_backward_hook", "register_full_backward_pre_hook",
    "register_load_state_dict_post_hook", "register_load_state_dict_pre_hook", "register_module",
    "register_parameter", "register_state_dict_post_hook", "register_state_dict_pre_hook", "requires_grad_",
    "set_extra_state", "set_submodule", "share_memory", "state_dict", "to", "to_empty", "train", "training",
    "type", "update", "values", "xpu", "zero_grad",
})  # fmt: skip
RESERVED = frozenset({"torch", "nn", "F", "math", "self", "Tensor", "Path", "load", "load_file", "INPUTS", "OUTPUTS"})
_MAX = 80


def identifier(text: str, fallback: str = "value") -> str:
    """A valid, public ASCII identifier that resembles ``text``."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")[:_MAX].strip("_")
    if not name:
        name = fallback
    if name[0].isdigit():
        name = f"{fallback}_{name}"
    return f"{name}_" if keyword.iskeyword(name) or keyword.issoftkeyword(name) else name


def local(text: str) -> str:
    """An identifier for a local variable: hides no builtin and no imported name."""
    name = identifier(text)
    return f"{name}_" if hasattr(builtins, name) or name in RESERVED else name


def class_name(text: str) -> str:
    """``my-net v2`` → ``MyNetV2``."""
    words = [w for w in re.split(r"[^A-Za-z0-9]+", text)[:12] if w]
    name = "".join(w[0].upper() + w[1:] for w in words)[:_MAX]
    if not name or name[0].isdigit():
        name = f"Net{name}"
    taken = hasattr(builtins, name) or keyword.iskeyword(name) or name in RESERVED
    return f"{name}Net" if taken else name


def path_parts(path: str) -> list[str]:
    """A layer path as the names of nested modules; digits stay digits (``layer1.0.conv1``)."""
    parts = []
    for piece in re.split(r"[./:]+", path):
        name = re.sub(r"[^A-Za-z0-9_]+", "_", piece).strip("_")[:_MAX].strip("_")
        if not name:
            continue
        if name.isdigit():
            parts.append(str(int(name)) if len(name) < 9 else f"n{name}")
            continue
        name = identifier(name, "n")
        parts.append(f"{name}_" if name in _MODULE_ATTRIBUTES else name)
    if parts and parts[0].isdigit():
        parts[0] = f"layer{parts[0]}"
    return parts[:12]


class Unique:
    """Gives every wanted name once; later ones get ``_1``, ``_2`` …"""

    def __init__(self, taken: frozenset[str] = frozenset()) -> None:
        self._taken = set(taken)
        self._counts: dict[str, int] = {}

    def __call__(self, wanted: str) -> str:
        name = wanted
        while name in self._taken:
            self._counts[wanted] = self._counts.get(wanted, 0) + 1
            name = f"{wanted}_{self._counts[wanted]}"
        self._taken.add(name)
        return name

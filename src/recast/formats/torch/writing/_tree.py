"""The module tree: layer paths become nested modules, and state-dict keys keep the source's names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from recast.formats.torch.writing._names import identifier

WIDTH = 116


@dataclass
class Group:
    """A container made from a path segment: a list when its children are 0, 1, 2 …, else a dictionary."""

    children: dict[str, Group | str] = field(default_factory=dict)
    tensors: set[str] = field(default_factory=set)

    @property
    def is_list(self) -> bool:
        """Whether the children are called 0, 1, 2 … in order."""
        return bool(self.children) and list(self.children) == [str(i) for i in range(len(self.children))]


class Tree:
    """Places modules and tensors under unique paths and prints the ``__init__`` body."""

    def __init__(self) -> None:
        self.root = Group()
        self._tensor_lines: list[tuple[list[str], str]] = []
        self._marked: list[list[str]] = []
        self._lists: dict[int, bool] = {}  # of a complete tree: which groups are lists

    def place(self, parts: list[str]) -> list[str]:
        """A free path for a module, as near to ``parts`` as the paths already there allow."""
        group = self.root
        path: list[str] = []
        for index, name in enumerate(parts[:-1]):
            child = group.children.get(name)
            if isinstance(child, str) or name in group.tensors:
                return self._free(group, path, identifier("_".join(parts[index:]), "layer"))
            if child is None:
                child = group.children[name] = Group()
            group, path = child, [*path, name]
        return self._free(group, path, parts[-1])

    def _free(self, group: Group, path: list[str], wanted: str) -> list[str]:
        name, count = wanted, 0
        while name in group.children or name in group.tensors:
            count += 1
            name = f"{identifier(wanted, 'layer')}_{count}"
        return [*path, name]

    def module(self, parts: list[str], code: str) -> list[str]:
        """Add a module; returns its path."""
        path = self.place(parts)
        self._group(path).children[path[-1]] = code
        return path

    def tensor(self, parts: list[str], code: str) -> list[str]:
        """Add a parameter or buffer: ``code`` has ``{owner}`` and ``{name}`` where those belong."""
        if parts[-1].isdigit():
            parts = [*parts[:-1], f"value_{parts[-1]}"]
        path = self.place(parts)
        self._group(path).tensors.add(path[-1])
        self._tensor_lines.append((path, code))
        return path

    def _group(self, path: list[str]) -> Group:
        group = self.root
        for name in path[:-1]:
            child = group.children[name]
            if isinstance(child, str):
                raise ValueError(f"{path} leads through a module")
            group = child
        return group

    def access(self, path: list[str]) -> str:
        """A mark that ``resolve`` turns into ``self.layer1[0].conv1`` once it is known what is a list."""
        self._marked.append(path)
        return f"\ue000{len(self._marked) - 1}\ue001"

    def resolve(self, text: str) -> str:
        """Replace all marks. Call it when the tree is complete."""
        self._lists.clear()
        return re.sub("\ue000([0-9]+)\ue001", lambda m: self._reach(self._marked[int(m.group(1))]), text)

    def _reach(self, path: list[str]) -> str:
        text, group = "self", self.root
        for name in path:
            if not name.isdigit():
                text += f".{name}"
            else:
                text += f"[{name}]" if self._is_list(group) else f'["{name}"]'
            child = group.children.get(name)
            group = child if isinstance(child, Group) else Group()
        return text

    def _is_list(self, group: Group) -> bool:
        if id(group) not in self._lists:
            self._lists[id(group)] = group.is_list
        return self._lists[id(group)]

    def lines(self) -> list[str]:
        """The statements of ``__init__`` that build everything (without indentation)."""
        result: list[str] = []
        for name, child in self.root.children.items():
            code = _code(child)
            result.append(f"self.{name} = {code[0]}")
            result.extend(code[1:])
        for path, line in self._tensor_lines:
            owner = self._reach(path[:-1])
            result.append(line.replace("{owner}", owner).replace("{name}", path[-1]))
        return result


def _code(item: Group | str) -> list[str]:
    if isinstance(item, str):
        return [item]
    if not item.children:
        return ["nn.Module()"]
    listed = item.is_list
    lines = ["nn.ModuleList([" if listed else "nn.ModuleDict({"]
    for name, child in item.children.items():
        code = _code(child)
        head = "" if listed else f'"{name}": '
        lines.append(f"    {head}{code[0]}")
        lines.extend(f"    {line}" for line in code[1:])
        lines[-1] += ","
    lines.append("])" if listed else "})")
    return lines

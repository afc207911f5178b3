"""Find every layer's weights in the file, by name and order, and make sure that none is left over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from recast.errors import BadModel, UnsupportedOp
from recast.formats.keras.config import Layer, Network
from recast.formats.keras.hdf5 import Dataset, Group, text
from recast.formats.keras.reading import entry

_RANDOM_STATE = ("seed_generator", "_seed_generator", "generator", "_random_generator", "StateVar")
_RANDOM = re.compile(rf"(?:^|[/:])(?:{'|'.join(_RANDOM_STATE)})(?:[/:]|$)")
_NUMBER = re.compile(r"(_\d+)?(:\d+)?$")
_REEXPORT = "config and weights do not belong together: save the whole model again"


def children(layer: Layer) -> list[tuple[str, Layer]]:
    """Inner layers with their path in a Keras 3 weights file."""
    if layer.network is not None:
        return [(f"layers/{name}", child) for name, child in numbered(layer.network)]
    known = entry(layer)
    if known is None:
        return []
    if "children" not in layer.values:
        layer.values["children"] = dict(known.children(layer))
    return list(layer.values["children"].items())


def roles(layer: Layer) -> list[str]:
    """Names of a layer's own weights; ``~`` marks the non-trainable ones."""
    known = entry(layer) if layer.network is None else None
    return known.weights(layer.config) if known is not None else []


def snake_case(name: str) -> str:
    """``MultiHeadAttention`` → ``multi_head_attention``; ``Conv2D`` → ``conv2d``; ``PReLU`` → ``p_re_lu``."""
    return re.sub(r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", name).lower()


def numbered(network: Network) -> Iterator[tuple[str, Layer]]:
    """Layers with the names that Keras 3 gives them in a weights file: class names, counted."""
    counts: dict[str, int] = {}
    for position, layer in enumerate(network.layers):
        if layer.operation or (network.sequential and position == 0 and layer.class_name == "InputLayer"):
            continue
        base = snake_case(layer.class_name)
        count = counts.get(base, 0)
        counts[base] = count + 1
        yield (f"{base}_{count}" if count else base), layer


def bind_archive(network: Network, root: Group) -> None:
    """Bind the weights of a ``.keras`` archive (paths ``layers/conv2d/vars/0``).

    Raises:
        BadModel: a weight is missing, or one is left over.
    """
    top = "layers"
    if root.group(top) is None and root.group("_layer_checkpoint_dependencies") is not None:
        top = "_layer_checkpoint_dependencies"  # Keras 2.12 and 2.13
    used: set[str] = set()
    for name, layer in numbered(network):
        _bind_paths(layer, root, f"{top}/{name}", used)
    left = [d.path for d in root.datasets() if d.path not in used and not _ignorable(d.path)]
    if left:
        raise BadModel(f"{len(left)} weights belong to no layer: {', '.join(sorted(left)[:5])}", "weights", _REEXPORT)


def _ignorable(path: str) -> bool:
    parts = path.split("/")
    return parts[0] in ("optimizer", "vars", "_metrics", "metrics") or any(p in _RANDOM_STATE for p in parts)


def _bind_paths(layer: Layer, root: Group, path: str, used: set[str], named: bool = True) -> None:
    own = roles(layer)
    if own:
        names = [r for r in own if r[0] != "~"] + [r[1:] for r in own if r[0] == "~"]
        group = root.group(f"{path}/vars")
        kept = text(group.attrs.get("name", "")) if named and group is not None else ""
        if kept and kept != layer.name:
            raise BadModel(f"the weights at {path} belong to layer '{kept}'", _at(layer), _REEXPORT)
        for index, role in enumerate(names):
            found = group.child(str(index)) if group is not None else None
            if not isinstance(found, Dataset):
                raise BadModel(f"weight '{role}' is missing ({path}/vars/{index})", _at(layer), _REEXPORT)
            used.add(found.path)
            layer.weights[role] = found
    for inner, child in children(layer):
        _bind_paths(child, root, f"{path}/{inner}", used, layer.network is not None)


def _at(layer: Layer) -> str:
    return f"layer {layer.path} ({layer.class_name})"


def bind_legacy(network: Network, group: Group, version: int) -> None:
    """Bind the weights of an ``.h5`` file (``model_weights/<layer>`` with its attribute ``weight_names``).

    Raises:
        BadModel: names or number of weights do not fit the layers.
    """
    known = {layer.name for layer in network.layers}
    for name in group.names("layer_names"):
        inner = group.group(name) if name not in known else None
        if inner is not None and inner.names("weight_names"):
            raise BadModel(f"weights of an unknown layer '{name}'", "model_weights", _REEXPORT)
    top = group.group("top_level_model_weights")
    if top is not None and top.names("weight_names"):
        raise BadModel("the model has weights of its own, outside its layers", "model_weights", _REEXPORT)
    for layer in network.layers:
        if not layer.operation:
            _bind_flat(layer, group.group(layer.name), version)
    if text(group.attrs.get("backend", "")) == "theano" and any("Conv" in c.class_name for c in network.all_layers()):
        raise UnsupportedOp(
            "convolutions trained with the Theano backend have flipped kernels",
            "model_weights",
            "load the file with Keras 2 on TensorFlow and save it again",
        )


def _bind_flat(layer: Layer, group: Group | None, version: int) -> None:
    held: list[tuple[str, Dataset]] = []
    for name in group.names("weight_names") if group is not None else []:
        found = group.child(name) if group is not None else None
        if not isinstance(found, Dataset):
            raise BadModel(f"weight '{name}' is listed but not there", _at(layer), _REEXPORT)
        if not _RANDOM.search(name):
            held.append((name, found))
    if version == 1:
        from recast.formats.keras.keras1 import bind_keras1

        bind_keras1(layer, [dataset for _, dataset in held])
        return
    trainable, fixed = _split(layer, False)
    wanted = trainable + fixed
    if len(wanted) != len(held):
        raise BadModel(
            f"{len(held)} weights in the file, {len(wanted)} expected ({', '.join(r for _, r in wanted[:6])})",
            _at(layer),
            _REEXPORT,
        )
    owners = {owner.name for owner, _ in wanted}
    for (owner, role), (name, dataset) in zip(wanted, held, strict=True):
        *parents, stem = name.split("/")
        stem = _NUMBER.sub("", stem)
        stray = bool(parents) and owner is not layer and parents[-1] in owners and parents[-1] != owner.name
        if stray or (stem != role and (role, stem) not in _ALSO):
            raise BadModel(f"weight '{name}' stands where '{owner.name}/{role}' belongs", _at(layer), _REEXPORT)
        owner.weights[role] = dataset


# Names of weights in files that differ from the role's name here.
_ALSO = {("depthwise_kernel", "kernel"), ("gamma", "variable")}


def _split(layer: Layer, frozen: bool) -> tuple[list[tuple[Layer, str]], list[tuple[Layer, str]]]:
    """A layer's weights in the order of old files: the trainable ones of all inner layers, then the others."""
    frozen = frozen or layer.config.get("trainable") is False
    own = roles(layer)
    trainable = [(layer, r) for r in own if r[0] != "~"]
    fixed: list[tuple[Layer, Any]] = [(layer, r[1:]) for r in own if r[0] == "~"]
    if frozen:
        trainable, fixed = [], trainable + fixed
    for _, child in children(layer):
        more, others = _split(child, frozen)
        trainable += more
        fixed += others
    return trainable, fixed

"""The two files of an IR as plain data: layers with their attributes and sources, and the bytes of the weights.

The XML is parsed with a parser that refuses document type declarations, so no entity is ever expanded, and with budgets
for size, depth and number of elements.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from recast._util.bounded import MAX_DEPTH, MAX_NODES, open_bytes
from recast.errors import BadModel, TooLarge, UnsafeModel, UnsupportedOp

MAX_XML_BYTES = 256 << 20
VERSIONS = ("10", "11")
_ELEMENTS_PER_LAYER = 40


@dataclass
class Port:
    """One output of a layer: its declared type and shape (-1: dynamic), and its tensor's names."""

    precision: str
    dims: tuple[int, ...]
    names: tuple[str, ...]


@dataclass
class Layer:
    """One operator as the file states it. ``sources``: (layer id, output place) of each input, in order."""

    id: str
    name: str
    kind: str
    opset: str
    data: dict[str, str]
    has_body: bool
    input_ports: list[str]
    outputs: list[Port]
    output_places: dict[str, int]
    sources: list[tuple[str, int]] = field(default_factory=list)


@dataclass
class File:
    """A whole IR."""

    where: str
    name: str
    layers: dict[str, Layer]
    weights: memoryview


def load(path: Path) -> File:
    """Parse ``path`` and map its ``.bin``.

    Raises:
        BadModel, TooLarge: the files are damaged.
        UnsafeModel: the XML declares a document type.
        UnsupportedOp: another version of IR.
    """
    data = open_bytes(path)
    if len(data) > MAX_XML_BYTES:
        raise TooLarge(f"{len(data)} bytes of XML", path.name, f"at most {MAX_XML_BYTES} are read")
    root = _parse(bytes(data), path.name)
    if root.tag != "net":
        raise BadModel(f"the root of the XML is '{root.tag[:80]}', not 'net'", path.name)
    version = root.get("version", "")
    if version not in VERSIONS:
        raise UnsupportedOp(
            f"IR version {version[:20] or '(none)'} is not read; versions {' and '.join(VERSIONS)} are",
            path.name,
            "IR before version 10 has other operators and OpenVINO itself dropped it in 2024: convert the original "
            "model again",
        )
    layers = _layers(root, path.name)
    _edges(root, layers, path.name)
    binary = path.with_suffix(".bin")
    return File(path.name, root.get("name", "main"), layers, open_bytes(binary) if binary.exists() else memoryview(b""))


def _parse(data: bytes, where: str) -> ElementTree.Element:
    """An element tree, built by our own handlers on expat."""
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()
    depth = count = 0

    def doctype(*_: object) -> None:
        raise UnsafeModel("the XML declares a document type", where, "IR has none: export the model again")

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, count
        depth, count = depth + 1, count + 1
        if depth > MAX_DEPTH or count > MAX_NODES * _ELEMENTS_PER_LAYER:
            raise TooLarge("the XML is nested too deeply or has too many elements", where)
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = doctype
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.buffer_text = True
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise BadModel(f"the XML is damaged: {error}", where, "export or copy the file again") from error
    return builder.close()


def _layers(root: ElementTree.Element, where: str) -> dict[str, Layer]:
    layers: dict[str, Layer] = {}
    for element in root.findall("layers/layer"):
        layer = _layer(element)
        if layer.id in layers:
            raise BadModel(f"two layers have the id {layer.id[:40]}", where)
        layers[layer.id] = layer
    if not layers:
        raise BadModel("the file has no layers", where, "export the model again")
    return layers


def _layer(element: ElementTree.Element) -> Layer:
    data = element.find("data")
    outputs, places = [], {}
    for place, port in enumerate(element.findall("output/port")):
        places[port.get("id", "")] = place
        dims = tuple(int(d.text or "") for d in port.findall("dim"))
        outputs.append(Port(port.get("precision", ""), dims, _names(port.get("names", ""))))
    return Layer(
        element.get("id", ""),
        element.get("name", ""),
        element.get("type", ""),
        element.get("version", ""),
        dict(data.attrib) if data is not None else {},
        any(element.find(tag) is not None for tag in ("body", "then_body", "else_body")),
        [port.get("id", "") for port in element.findall("input/port")],
        outputs,
        places,
    )


def _names(text: str) -> tuple[str, ...]:
    """A list with commas; a comma inside a name has a backslash before it."""
    parts = text.replace("\\,", "\0").split(",")
    return tuple(p.replace("\0", ",") for p in parts if p)


def _edges(root: ElementTree.Element, layers: dict[str, Layer], where: str) -> None:
    found: dict[tuple[str, str], tuple[str, int]] = {}
    for edge in root.findall("edges/edge"):
        source = layers.get(edge.get("from-layer", ""))
        place = source.output_places.get(edge.get("from-port", "")) if source else None
        if source is None or place is None:
            raise BadModel(f"an edge begins at a port that is not there: {dict(edge.attrib)}", where)
        end = (edge.get("to-layer", ""), edge.get("to-port", ""))
        if end in found:
            raise BadModel(f"two edges end at port {end[1]} of layer {end[0]}", where)
        found[end] = (source.id, place)
    for layer in layers.values():
        for port in layer.input_ports:
            origin = found.get((layer.id, port))
            if origin is None:
                raise BadModel(f"nothing is connected to port {port} of layer '{layer.name}'", where)
            layer.sources.append(origin)

"""Routes are found by folder, lead where they say, and their files run where there is no Recast."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from recast import formats
from recast.errors import BadModel, BadRecipe, UnknownFormat
from recast.routes import child, listing, tools
from recast.routes._route import Route, by_name, catalogue
from recast.routes.kinds import REPOSITORY, TORCHSCRIPT, kind_of
from recast.routes.paths import way, ways

CHILD_FILES = [p for package in (child, tools) for p in sorted(Path(package.__path__[0]).glob("*.py"))]


def test_every_file_is_a_route() -> None:
    assert set(catalogue()) == {"tf2onnx", "keras-export", "tf-lite", "litert-torch", "onnx2torch", "openvino"}


@pytest.mark.parametrize("route", catalogue().values(), ids=list(catalogue()))
def test_facts(route: Route) -> None:
    kinds = {*formats.catalogue(), TORCHSCRIPT}
    for source, target in route.edges:
        assert source in kinds
        assert formats.by_name(target).judge[0], "its result can be judged"
    assert all("==" in package for package in route.packages), "pinned"
    assert any(package.startswith(f"{route.tool}==") for package in route.packages)
    assert route.options <= {"opset", "inputs"}


@pytest.mark.parametrize("path", CHILD_FILES, ids=lambda p: p.name)
def test_the_child_side_needs_no_recast(path: Path) -> None:
    """Nor a new Python: an old framework may live in an old one."""
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if id(node) not in typing_only:
            assert not any(name.partition(".")[0] == "recast" for name in names)
    imported = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    assert imported or path.name == "__init__.py"


def test_a_new_route_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "new_tool.py").write_text(
        'TITLE = "New"\nTOOL = "new"\nPACKAGES = ("new==1",)\nNEEDS = ("new",)\n'
        'EDGES = (("mindspore", "onnx"),)\nOPTIONS = ()\n'
    )
    monkeypatch.setattr(tools, "__path__", [*tools.__path__, str(tmp_path)])
    catalogue.cache_clear()
    try:
        assert by_name("new-tool").edges == (("mindspore", "onnx"),)
        assert any(row.name == "new-tool" for row in listing.rows("mindspore", "onnx"))
    finally:
        sys.modules.pop(f"{tools.__name__}.new_tool", None)
        monkeypatch.undo()  # the folder too, before anybody fills the cache again
        catalogue.cache_clear()
    assert "new-tool" not in catalogue()


def test_ways_are_ordered() -> None:
    def steps(name: str, kind: str, target: str, suffix: str = "") -> list[list[str]]:
        return [w.steps(kind) for w in ways(by_name(name), kind, target, suffix)]

    assert steps("tf2onnx", "keras", "onnx")[0] == ["keras", "tf2onnx", "onnx"]
    assert steps("tf2onnx", "keras", "tflite") == [["keras", "tf2onnx", "onnx", "recast", "tflite"]]
    assert steps("openvino", "keras", "openvino")[0] == ["keras", "recast", "onnx", "openvino", "openvino"]
    assert steps("onnx2torch", "onnx", "torch", ".pt2") == [
        ["onnx", "recast", "onnx", "onnx2torch", "torch"],  # written anew in the opset that it takes
        ["onnx", "onnx2torch", "torch"],
    ]
    assert steps("onnx2torch", "onnx", "torch", ".py") == []
    assert steps("onnx2torch", "onnx", "tflite") == [], "what it makes is code: we do not read it"
    assert steps("openvino", TORCHSCRIPT, "onnx") == [[TORCHSCRIPT, "openvino", "openvino", "recast", "onnx"]]


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [("tf-lite", "onnx", "mindspore"), ("litert-torch", "weights", "tflite"), ("onnx2torch", "torchscript", "torch")],
)
def test_where_a_route_does_not_lead(name: str, kind: str, target: str) -> None:
    with pytest.raises(BadRecipe):
        way(by_name(name), kind, target, "")


def test_names_stand_for_kinds(tmp_path: Path) -> None:
    assert [kind_of(t) for t in (".h5", "model.keras", "TFLite", "torchscript", "a.b:make", "x.pb")] == [
        "keras", "keras", "tflite", TORCHSCRIPT, "torch", "savedmodel",
    ]  # fmt: skip
    with pytest.raises(UnknownFormat):
        kind_of("model.xyz")
    (tmp_path / "empty.h5").write_bytes(b"")
    with pytest.raises(BadModel):
        kind_of(str(tmp_path / "empty.h5"))


def test_a_repository_is_built_by_our_reader(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert kind_of(str(tmp_path)) == kind_of("hub:somewhere:net") == REPOSITORY
    steps = [w.steps(REPOSITORY) for w in ways(by_name("litert-torch"), REPOSITORY, "tflite")]
    assert steps == [[REPOSITORY, "recast", "torch", "litert-torch", "tflite"]]
    assert listing.rows(str(tmp_path), "onnx")[0].default


def test_content_goes_before_the_suffix(tmp_path: Path) -> None:
    from recast.demo import MODEL

    other = tmp_path / "model.tflite"
    other.write_bytes(Path(MODEL).read_bytes())
    assert kind_of(str(other)) == "keras"


def test_rows() -> None:
    found = listing.rows("keras", "tflite")
    assert [r.name for r in found if r.default] == ["recast"]
    assert found[0].kind == "direct"
    kinds = {r.name: r.kind for r in found}
    assert kinds["tf-lite"] == "third-party"
    assert kinds["tf2onnx"] == "intermediate"
    assert all(r.installed or r.install for r in found)
    assert listing.rows("onnx", "openvino")[0].kind in ("direct", "intermediate")
    assert not any(r.default for r in listing.rows("torchscript", "openvino")), "we do not read it"
    with pytest.raises(BadRecipe):
        by_name("nonsense")

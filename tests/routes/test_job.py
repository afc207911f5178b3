"""What the child side does with a request, without a framework: code in a file is not run unless it is trusted."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recast.routes.child import job as child
from recast.routes.child.job import Job, Refused


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **facts: Any) -> None:
    module = ModuleType(name)
    for key, value in facts.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)


def test_keras_2_runs_code_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "tf_keras", __version__="2.18.0")
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with pytest.raises(Refused) as caught:
        Job("model.h5", "keras").source_model()
    assert "--trust" in caught.value.fix


@pytest.mark.parametrize(("source", "kind"), [("a.pt", "torchscript"), ("a.pt2", "torch"), ("a.py", "torch")])
def test_programs_are_not_loaded_without_trust(source: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "torch", __version__="0", set_num_threads=lambda _: None)
    with pytest.raises(Refused) as caught:
        Job(source, kind).source_model()
    assert "--trust" in caught.value.fix


def test_what_has_no_runtime_here() -> None:
    with pytest.raises(Refused):
        Job("a.tflite", "tflite").source_model()


def test_custom_objects_are_classes_and_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_layers.py").write_text("import os\nLIMIT = 3\nclass Twice: pass\ndef swish(x): return x\n")
    (tmp_path / "installed_layers.py").write_text("class Thrice: pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = Job("m", "keras", imports=[str(tmp_path / "my_layers.py"), "installed_layers"]).custom_objects()
    assert set(found) == {"Twice", "swish", "Thrice"}
    for name in ("my_layers", "installed_layers"):
        monkeypatch.delitem(sys.modules, name)


def test_dynamic_dimensions_get_names() -> None:
    assert child._dims([None, 7, -1], "x") == ["x_0", 7, "x_2"]

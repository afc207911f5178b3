"""A private environment is there whole or not at all; where it lies is what the system says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from recast.errors import BadRecipe, MissingDependency, OutputFailed, ToolFailed
from recast.routes import install, interpreters
from recast.routes._route import Route, by_name

TOOLS = Path(install.__file__).parent / "tools"


def wheel(folder: Path, version: str = "1.3") -> Path:
    """A distribution ``tinytool`` as an installer takes it."""
    path, info = folder / f"tinytool-{version}-py3-none-any.whl", f"tinytool-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tinytool.py", f"version = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tinytool\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def tiny(package: str) -> Route:
    return Route("tiny", "", "tinytool", (package,), ("tinytool",), (("keras", "onnx"),), TOOLS / "tf2onnx.py")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_install_is_found_and_idempotent(cache: Path, tmp_path: Path) -> None:
    route = tiny(str(wheel(tmp_path)))
    assert not interpreters.find(route).ready
    with pytest.raises(MissingDependency) as caught:
        interpreters.need(route)
    assert "recast routes --install tiny" in caught.value.fix
    python, new = install.install(route)
    assert new
    found = interpreters.need(route)
    assert (found.version, found.kind, found.python) == ("1.3", "private", python)
    mark = json.loads((install.folder_of(route) / "recast-route.json").read_text())
    assert any(line.startswith("tinytool") for line in mark["installed"])
    before = python.stat().st_mtime_ns
    assert install.install(route) == (python, False)
    assert python.stat().st_mtime_ns == before
    assert [p.name for p in (cache / "routes").iterdir()] == [install.folder_of(route).name]
    other = tiny(str(wheel(tmp_path, "1.4")))
    assert install.python_of(other) is None, "other pins are another environment"


def test_an_install_that_fails_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    route = tiny(str(tmp_path / "absent-1.0-py3-none-any.whl"))
    with pytest.raises(ToolFailed) as caught:
        install.install(route)
    assert "absent" in caught.value.where
    assert not list((cache / "routes").iterdir())
    assert install.python_of(route) is None


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for the Python")
def test_a_killed_install_is_not_believed_and_is_swept(cache: Path, tmp_path: Path) -> None:
    """Killed in the middle of the installation, which cannot tidy up then."""
    base = tmp_path / "python"
    base.write_text('#!/bin/sh\nmkdir -p "$3/bin"; printf "#!/bin/sh\\nexec sleep 60" > "$3/bin/python"\n'
                    'chmod +x "$3/bin/python"\n')  # fmt: skip
    base.chmod(0o755)
    code = (
        "from pathlib import Path; from tests.routes.test_install import *\n"
        f"install.install(tiny('tinytool'), Path({str(base)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 60
    while not list(cache.glob("routes/.*.making/bin/python")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = list((cache / "routes").iterdir())
    assert len(left) == 1
    assert left[0].name.endswith(".making")
    assert install.python_of(tiny("tinytool")) is None
    with pytest.raises(ToolFailed):
        install.install(tiny(str(tmp_path / "absent-1.0-py3-none-any.whl")))
    assert not list((cache / "routes").iterdir())


def test_a_folder_without_its_mark_is_no_environment(cache: Path, tmp_path: Path) -> None:
    route = tiny("tinytool==1.3")
    python = install._python(install.folder_of(route))
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert install.python_of(route) is None


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="every folder can be written by this user")
def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.setenv("RECAST_CACHE", str(tmp_path / "cache"))
    with pytest.raises(OutputFailed):
        install.install(tiny("tinytool"))


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/recast"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/u/.cache/recast"),
        ("linux", {}, "/home/u/.cache/recast"),
        ("darwin", {}, "/home/u/Library/Caches/recast"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l/recast/Cache"),
        ("win32", {}, "/home/u/AppData/Local/recast/Cache"),
        ("linux", {"RECAST_CACHE": "/own"}, "/own"),
    ],
)
def test_cache_folder(platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RECAST_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/u"))
    assert install.cache_folder() == Path(expected)


def test_a_named_python_goes_before_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    route = by_name("tf2onnx")
    assert interpreters.variable(route) == "RECAST_PYTHON_TF2ONNX"
    monkeypatch.setenv("RECAST_PYTHON_TF2ONNX", sys.executable)
    assert interpreters.find(route).kind == "named"
    monkeypatch.setenv("RECAST_PYTHON_TF2ONNX", str(tmp_path / "nowhere"))
    with pytest.raises(BadRecipe) as caught:
        interpreters.find(route)
    assert "nowhere" in caught.value.where
    assert interpreters.find(route, Path(sys.executable)).kind == "named"


@pytest.mark.parametrize("name", ["true", "false"])
@pytest.mark.skipif(os.name == "nt", reason="other programs there")
def test_what_is_no_python_is_refused(name: str) -> None:
    with pytest.raises(BadRecipe):
        interpreters.find(by_name("tf2onnx"), Path("/bin") / name)

"""Outputs are whole or absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recast._util import atomic
from recast.errors import OutputExists, OutputFailed


def test_existing_needs_force(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_text("old")
    with pytest.raises(OutputExists):
        atomic.check_free(path, force=False)
    atomic.check_free(path, force=True)


def test_links_are_refused_even_with_force(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("x")
    link = tmp_path / "a.onnx"
    link.symlink_to(target)
    with pytest.raises(OutputExists):
        atomic.check_free(link, force=True)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputFailed):
        atomic.check_free(tmp_path / "no" / "a.onnx", force=False)


def test_failure_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_text("old")
    with pytest.raises(OutputFailed), atomic.staging(path) as folder:
        (folder / path.name).write_text("half")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.onnx"]


def test_commit_replaces_all(tmp_path: Path) -> None:
    main, side = tmp_path / "a.py", tmp_path / "a.safetensors"
    main.write_text("old")
    with atomic.staging(main) as folder:
        (folder / "a.py").write_text("new")
        (folder / "a.safetensors").write_text("weights")
        atomic.commit([(folder / "a.safetensors", side), (folder / "a.py", main)])
    assert main.read_text() == "new"
    assert side.read_text() == "weights"
    assert sorted(os.listdir(tmp_path)) == ["a.py", "a.safetensors"]


def test_a_folder_is_replaced(tmp_path: Path) -> None:
    main = tmp_path / "saved"
    main.mkdir()
    (main / "old").write_text("old")
    with atomic.staging(main) as folder:
        (folder / "saved").mkdir()
        (folder / "saved" / "new").write_text("new")
        atomic.commit([(folder / "saved", main)])
    assert os.listdir(main) == ["new"]

"""Files made to mislead: refused by the command line with a code and a remedy, nothing run, nothing written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from recast.demo import MODEL


def external_data(folder: Path, location: str) -> Path:
    tensor = TensorProto(name="w", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    value = [helper.make_tensor_value_info(n, 1, [2]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", value[:1], value[1:], [tensor])
    path = folder / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]).SerializeToString())
    return path


def escape(folder: Path) -> Path:
    (folder.parent / "secret.bin").write_bytes(b"12345678")
    return external_data(folder, "../secret.bin")


def absolute(folder: Path) -> Path:
    return external_data(folder, "/etc/passwd")


def through_a_link(folder: Path) -> Path:
    (folder.parent / "secret.bin").write_bytes(b"12345678")
    (folder / "inside.bin").symlink_to(folder.parent / "secret.bin")
    return external_data(folder, "inside.bin")


def hdf5_external_link(folder: Path) -> Path:
    path = folder / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = b"2.9.0", b"tensorflow"
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"name": "s", "layers": []}})
        file["model_weights"] = h5py.ExternalLink("/etc/passwd", "/")
    return path


def hdf5_external_storage(folder: Path) -> Path:
    (folder / "secret.txt").write_bytes(b"s" * 64)
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "s",
            "layers": [
                {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "name": "x"}},
                {"class_name": "Dense", "config": {"name": "d", "units": 4, "use_bias": False, "activation": "linear"}},
            ],
        },
    }
    path = folder / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = b"2.9.0", b"tensorflow"
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"d"]
        layer = group.create_group("d")
        layer.attrs["weight_names"] = [b"d/kernel:0"]
        layer.create_dataset("d/kernel:0", (4, 4), "f4", external=[(str(folder / "secret.txt"), 0, 64)])
    return path


def lambda_layer(folder: Path) -> Path:
    config = json.loads(zipfile.ZipFile(MODEL).read("config.json"))
    function = {"class_name": "__lambda__", "config": {"code": "4wAAAA=="}}
    layer = {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "evil", "function": function}}
    config["config"]["layers"].insert(1, layer)
    path = folder / "model.keras"
    with zipfile.ZipFile(MODEL) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, json.dumps(config) if name == "config.json" else old.read(name))
    return path


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def pickled_code(folder: Path) -> Path:
    path = folder / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({"w": Bomb(folder / "marker")}, protocol=2))
    return path


def oversized_header(folder: Path) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 38) + b"{}" + bytes(100))
    return path


def zip_bomb(folder: Path) -> Path:
    path = folder / "model.keras"
    with zipfile.ZipFile(MODEL) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            with new.open(name, "w") as file:
                if name == "model.weights.h5":
                    for _ in range(1500):
                        file.write(bytes(1 << 20))
                else:
                    file.write(old.read(name))
    return path


def wrong_suffix(folder: Path) -> Path:
    path = folder / "model.tflite"
    path.write_text("this is no model, whatever its name says")
    return path


def truncated(folder: Path) -> Path:
    path = folder / "model.keras"
    path.write_bytes(MODEL.read_bytes()[:-3000])
    return path


def empty(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.touch()
    return path


def huge_tensor(folder: Path) -> Path:
    tensor = TensorProto(name="w", data_type=1, dims=[1 << 40], raw_data=b"1234")
    value = [helper.make_tensor_value_info(n, 1, [1]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", value[:1], value[1:], [tensor])
    path = folder / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]).SerializeToString())
    return path


CASES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "external-data-escape": (escape, "E110"),
    "external-data-absolute": (absolute, "E110"),
    "external-data-link": (through_a_link, "E110"),
    "hdf5-external-link": (hdf5_external_link, "E110"),
    "hdf5-external-storage": (hdf5_external_storage, "E110"),
    "lambda": (lambda_layer, "E110"),
    "pickled-code": (pickled_code, "E110"),
    "oversized-header": (oversized_header, "E1"),
    "zip-bomb": (zip_bomb, "E1"),
    "wrong-suffix": (wrong_suffix, "E1"),
    "truncated": (truncated, "E1"),
    "empty": (empty, "E101"),
    "huge-tensor": (huge_tensor, "E111"),
}

# Runs the command with a memory limit and tells its peak: measured in the child, so that nothing else counts.
LIMITED = """
import sys
from recast.cli import main
try:
    main()
finally:
    with open("/proc/self/status") as status:  # ru_maxrss would begin with the peak of the process that forked this one
        peak = next(line for line in status if line.startswith("VmHWM"))
    sys.stderr.write(f"\\nPEAK {int(peak.split()[1]) // 1024}\\n")
"""


@pytest.mark.parametrize("case", CASES, ids=list(CASES))
def test_refused(case: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    make, code = CASES[case]
    source = make(folder)
    before = sorted(os.listdir(folder))
    out = tmp_path / "out"
    out.mkdir()
    target = out / ("o.npz" if source.suffix == ".pt" else "o.onnx")
    command = [sys.executable, "-c", LIMITED, "convert", str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert f"[{code}" in done.stderr
    assert "fix:" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(out) == []
    assert sorted(os.listdir(folder)) == before, "nothing was executed or left"
    assert int(done.stderr.rsplit("PEAK ", 1)[1]) < 1024


def test_the_source_is_never_touched(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    shutil.copy(MODEL, path)
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "recast", "convert", str(path), str(path), "--no-verify"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 5
    assert path.read_bytes() == before


def test_a_good_external_file_is_read(tmp_path: Path) -> None:
    """The positive control: refusing everything cannot pass."""
    path = external_data(tmp_path, "w.bin")
    (tmp_path / "w.bin").write_bytes(np.array([1.5, -2.0], np.float32).tobytes())
    out = tmp_path / "o.onnx"
    done = subprocess.run(
        [sys.executable, "-m", "recast", "convert", str(path), str(out)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert onnx.numpy_helper.to_array(onnx.load(out).graph.initializer[0]).tolist() == [1.5, -2.0]

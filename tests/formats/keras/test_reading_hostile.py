"""Damaged and hostile files end in a RecastError, soon; nothing of them is run, extracted or guessed."""

from __future__ import annotations

import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from recast.errors import BadModel, RecastError, TooLarge, UnsafeModel, UnsupportedOp
from recast.formats._format import ReadOptions
from recast.formats.keras import FORMAT

DENSE = {"class_name": "Dense", "config": {"name": "d", "units": 3, "activation": "relu", "use_bias": True}}
INPUT = {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": [None, 5], "dtype": "float32"}}


def old_file(path: Path, layers: list[Any], weights: dict[str, np.ndarray] | None = None, **entries: Any) -> Path:
    """An .h5 file as Keras 2 writes it, with a Sequential model."""
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}
    weights = {"d/kernel:0": np.ones((5, 3), "f4"), "d/bias:0": np.ones(3, "f4")} if weights is None else weights
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(entries.get("config", config)).encode()
        file.attrs["keras_version"] = b"2.4.0"
        top = file.create_group("model_weights")
        top.attrs["layer_names"] = [b"x", b"d"]
        group = top.create_group("d")
        group.attrs["weight_names"] = [n.encode() for n in weights]
        for name, value in weights.items():
            group.create_dataset(name, data=value, **entries.get("storage", {}))
    return path


def refused(path: Path, *kinds: type[RecastError]) -> str:
    """Read; it must be refused with one of the kinds within 10 s. Returns the message."""
    start = time.process_time()
    with pytest.raises(kinds or (RecastError,)) as caught:
        FORMAT.read(path, ReadOptions())
    assert time.process_time() - start < 10
    return str(caught.value)


def test_sound_file_is_read(tmp_path: Path) -> None:
    model = FORMAT.read(old_file(tmp_path / "m.h5", [INPUT, DENSE]), ReadOptions())
    assert [n.op_type for n in model.graph] == ["Gemm", "Relu"]


def test_compressed_file_is_read(tmp_path: Path) -> None:
    kernel = np.random.default_rng(0).normal(size=(5, 3)).astype("f4")
    weights = {"d/kernel:0": kernel, "d/bias:0": np.ones(3, "f4")}
    storage = {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": True}
    path = old_file(tmp_path / "m.h5", [INPUT, DENSE], weights, storage=storage)
    model = FORMAT.read(path, ReadOptions())
    np.testing.assert_array_equal(model.graph.initializers["d/kernel"].const_value.numpy(), kernel)


def test_truncated(tmp_path: Path) -> None:
    whole = old_file(tmp_path / "m.h5", [INPUT, DENSE]).read_bytes()
    for part in range(0, len(whole) - 1, max(1, len(whole) // 60)):
        (tmp_path / "cut.h5").write_bytes(whole[:part])
        with pytest.raises(RecastError):
            FORMAT.read(tmp_path / "cut.h5", ReadOptions())


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_bit_flips(suffix: str, tmp_path: Path) -> None:
    """Any flip is refused or read (a flipped weight is a sound file); nothing else happens."""
    path = tmp_path / f"m{suffix}"
    old_file(tmp_path / "m.h5", [INPUT, DENSE])
    if suffix == ".keras":
        archive(path, [INPUT, DENSE])
    whole, rng = path.read_bytes(), np.random.default_rng(7)
    start = time.process_time()
    for _ in range(300):
        data = bytearray(whole)
        for position in rng.integers(0, len(data), 3):
            data[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            FORMAT.read(path, ReadOptions())
        except RecastError:
            continue
    assert time.process_time() - start < 60


def test_external_link(tmp_path: Path) -> None:
    path = old_file(tmp_path / "m.h5", [INPUT, DENSE])
    with h5py.File(path, "a") as file:
        del file["model_weights/d/d"]
        file["model_weights/d/d"] = h5py.ExternalLink("/etc/passwd", "/x")
    assert "another file" in refused(path, UnsafeModel)


def test_soft_link(tmp_path: Path) -> None:
    path = old_file(tmp_path / "m.h5", [INPUT, DENSE])
    with h5py.File(path, "a") as file:
        file["copy"] = file["model_weights/d/d/kernel:0"][...]
        del file["model_weights/d/d/kernel:0"]
        file["model_weights/d/d/kernel:0"] = h5py.SoftLink("/copy")
    refused(path, UnsafeModel)


def test_external_storage(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"0" * 60)
    path = old_file(tmp_path / "m.h5", [INPUT, DENSE])
    with h5py.File(path, "a") as file:
        group = file["model_weights/d/d"]
        del group["kernel:0"]
        group.create_dataset("kernel:0", (5, 3), "f4", external=[(str(tmp_path / "secret"), 0, 60)])
    refused(path, UnsafeModel)


def test_virtual_dataset(tmp_path: Path) -> None:
    path = old_file(tmp_path / "m.h5", [INPUT, DENSE])
    layout = h5py.VirtualLayout((5, 3), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (5, 3))
    with h5py.File(path, "a") as file:
        del file["model_weights/d/d/kernel:0"]
        file["model_weights/d/d"].create_virtual_dataset("kernel:0", layout)
    refused(path, UnsafeModel)


def test_dataset_larger_than_the_file(tmp_path: Path) -> None:
    path = old_file(tmp_path / "m.h5", [INPUT, DENSE])
    with h5py.File(path, "a") as file:
        del file["model_weights/d/d/kernel:0"]
        file["model_weights/d/d"].create_dataset("kernel:0", (5, 1 << 40), "f4", chunks=(5, 1 << 10))
    refused(path, BadModel, TooLarge)


def test_lambda_is_not_run(tmp_path: Path) -> None:
    code = {"class_name": "Lambda", "config": {"name": "evil", "function": ["4wEAAAA=", None, None]}}
    message = refused(old_file(tmp_path / "m.h5", [INPUT, code, DENSE]), UnsafeModel)
    assert "Lambda 'evil'" in message
    assert "never run" in message


def test_all_unknown_classes_in_one_error(tmp_path: Path) -> None:
    layers = [{"class_name": f"My{i}", "config": {"name": f"my{i}"}} for i in range(3)]
    message = refused(old_file(tmp_path / "m.h5", [INPUT, *layers, DENSE]), UnsupportedOp)
    assert all(f"My{i} 'my{i}'" in message for i in range(3))


@pytest.mark.parametrize(
    "disguise",
    [
        {"class_name": "Custom>Dense"},
        {"module": "__main__", "registered_name": "Dense"},
        {"registered_name": "my>Dense"},
    ],
    ids=["registered-h5", "unregistered", "registered"],
)
def test_custom_class_with_the_name_of_a_keras_layer(disguise: dict[str, str], tmp_path: Path) -> None:
    refused(old_file(tmp_path / "m.h5", [INPUT, {**DENSE, **disguise}]), UnsupportedOp)


def test_custom_model_class(tmp_path: Path) -> None:
    config = {"class_name": "MyModel", "config": {"name": "m", "layers": [INPUT, DENSE]}}
    assert "MyModel" in refused(old_file(tmp_path / "m.h5", [], config=config), UnsupportedOp)


@pytest.mark.parametrize(
    "weights",
    [
        {"d/kernel:0": np.ones((5, 3), "f4")},
        {"d/kernel:0": np.ones((3, 5), "f4"), "d/bias:0": np.ones(3, "f4")},
        {"d/bias:0": np.ones(3, "f4"), "d/kernel:0": np.ones((5, 3), "f4")},
        {"d/kernel:0": np.ones((5, 3), "f4"), "d/bias:0": np.ones(3, "f4"), "d/more:0": np.ones(3, "f4")},
    ],
    ids=["missing", "wrong-shape", "swapped", "left-over"],
)
def test_weights_that_do_not_fit(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    refused(old_file(tmp_path / "m.h5", [INPUT, DENSE], weights), BadModel)


def test_layers_in_a_circle(tmp_path: Path) -> None:
    first = {**DENSE, "name": "d", "inbound_nodes": [[["e", 0, 0, {}]]]}
    second = {"class_name": "ReLU", "config": {"name": "e"}, "name": "e", "inbound_nodes": [[["d", 0, 0, {}]]]}
    inner = {"name": "m", "layers": [{**INPUT, "name": "x", "inbound_nodes": []}, first, second]}
    inner.update({"input_layers": [["x", 0, 0]], "output_layers": [["e", 0, 0]]})
    config = {"class_name": "Functional", "config": inner}
    assert "wait for each other" in refused(old_file(tmp_path / "m.h5", [], config=config), BadModel)


def test_nested_too_deeply(tmp_path: Path) -> None:
    layer: Any = DENSE
    for depth in range(80):
        layer = {"class_name": "Sequential", "config": {"name": f"s{depth}", "layers": [layer]}}
    refused(old_file(tmp_path / "m.h5", [INPUT, layer]), BadModel)


def test_weights_only_file_says_so(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layers"] = np.ones(3)
    assert "without the model's structure" in refused(tmp_path / "w.h5", BadModel)


def archive(path: Path, layers: list[Any], more: dict[str, bytes] | None = None, drop: tuple[str, ...] = ()) -> Path:
    """A .keras file with a Sequential model of one Dense layer."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/dense/vars/0"], file["layers/dense/vars/1"] = np.ones((5, 3), "f4"), np.ones(3, "f4")
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": layers}}
    members = {"config.json": json.dumps(config).encode(), "metadata.json": b'{"keras_version": "3.15.1"}'}
    members["model.weights.h5"] = buffer.getvalue()
    with zipfile.ZipFile(path, "w") as target:
        for name, data in {**members, **(more or {})}.items():
            if name not in drop:
                target.writestr(name, data, zipfile.ZIP_DEFLATED)
    return path


def test_sound_archive_is_read(tmp_path: Path) -> None:
    model = FORMAT.read(archive(tmp_path / "m.keras", [INPUT, DENSE]), ReadOptions())
    assert [n.op_type for n in model.graph] == ["Gemm", "Relu"]


def test_archive_reaching_outside(tmp_path: Path) -> None:
    refused(archive(tmp_path / "m.keras", [INPUT, DENSE], {"../../evil": b"x"}), UnsafeModel)
    assert not (tmp_path.parent.parent / "evil").exists()


def test_archive_without_weights(tmp_path: Path) -> None:
    refused(archive(tmp_path / "m.keras", [INPUT, DENSE], drop=("model.weights.h5",)), BadModel)


def test_archive_bomb(tmp_path: Path) -> None:
    bomb = {"model.weights.h5": bytes(100 << 20)}
    refused(archive(tmp_path / "m.keras", [INPUT, DENSE], bomb), TooLarge)


def test_archive_with_weights_left_over(tmp_path: Path) -> None:
    refused(archive(tmp_path / "m.keras", [INPUT, {"class_name": "ReLU", "config": {"name": "r"}}]), BadModel)


def test_damaged_member(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.keras", [INPUT, DENSE])
    data = path.read_bytes()
    with zipfile.ZipFile(path) as whole:
        entry = whole.getinfo("model.weights.h5")
    at = entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2
    path.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
    refused(path, BadModel)

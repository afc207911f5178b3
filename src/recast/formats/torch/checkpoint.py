"""Read PyTorch checkpoints (``.pt`` ``.pth`` ``.th`` ``.bin``; zip and the format before it) without PyTorch.

Tensors are views of the mapped file; only the inert interpreter in ``unpickle.py`` touches the pickled structure.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from recast._util.bounded import as_bad_model, check_size, element_count, open_bytes
from recast.errors import BadModel, TooLarge, UnsafeModel, UnsupportedType
from recast.formats.torch.unpickle import Call, Global, Instance, Machine

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_MAX_EXPANDED = 1 << 28  # elements of a tensor that repeats its storage (stride 0)
_DTYPES: dict[str, Any] = {
    "Float": np.float32, "Double": np.float64, "Half": np.float16, "BFloat16": ml_dtypes.bfloat16,
    "Long": np.int64, "Int": np.int32, "Short": np.int16, "Char": np.int8, "Byte": np.uint8, "Bool": np.bool_,
    "float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16,
    "int64": np.int64, "int32": np.int32, "int16": np.int16, "int8": np.int8, "uint8": np.uint8, "bool": np.bool_,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn, "float8_e5m2": ml_dtypes.float8_e5m2,
}  # fmt: skip
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "params", "weights")


@dataclass
class Storage:
    """A run of elements in the file; ``data`` is filled once its place is known (the old format says it last)."""

    dtype: np.dtype
    count: int
    data: memoryview | None = None


@dataclass
class TensorView:
    """A strided view of a storage, in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def set_state(self, state: Any) -> None:
        """Attributes of a tensor subclass carry no weights."""

    def array(self, where: str) -> np.ndarray:
        """The tensor as a read-only array, checked against its storage."""
        count = element_count(self.shape, where)
        if len(self.strides) != len(self.shape) or self.offset < 0 or any(s < 0 for s in self.strides):
            raise BadModel(f"bad strides {self.strides} for shape {self.shape}", where, "save the file again")
        if count > max(self.storage.count, _MAX_EXPANDED):
            raise TooLarge(
                f"shape {self.shape} over a storage of {self.storage.count} elements", where, "save it again"
            )
        last = self.offset + sum((d - 1) * s for d, s in zip(self.shape, self.strides, strict=True)) if count else 0
        data = self.storage.data
        if data is None:
            raise BadModel("a tensor without its storage", where, "the file is truncated")
        check_size((last + 1) * self.storage.dtype.itemsize if count else 0, len(data), where)
        if not count:
            return np.zeros(self.shape, self.storage.dtype)
        flat = np.frombuffer(data, self.storage.dtype, len(data) // self.storage.dtype.itemsize)
        steps = tuple(s * self.storage.dtype.itemsize for s in self.strides)
        return np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, steps, writeable=False)


def is_zip(head: bytes) -> bool:
    """Whether a file starts as a zip archive."""
    return head.startswith(b"PK\x03\x04")


def read_checkpoint(path: Path) -> tuple[dict[str, ir.TensorProtocol], list[str]]:
    """Read named tensors.

    Returns:
        Tensors by state-dict name, and the names of entries that are no tensors (left out).

    Raises:
        BadModel, TooLarge: damaged, or declares more than it holds.
        UnsafeModel: the file calls something, or is TorchScript or an exported program.
        UnsupportedType: quantised or sparse tensors.
    """
    data = open_bytes(path)
    try:
        root = _read_zip(data, path) if is_zip(bytes(data[:4])) else _read_legacy(data, str(path))
        return _named(root, str(path))
    except Exception as error:
        raise as_bad_model(error, str(path)) from error


def _read_zip(data: memoryview, path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        members = {i.filename: i for i in archive.infolist()}
        roots = [n.removesuffix("data.pkl") for n in members if n.endswith("data.pkl") and n.count("/") <= 1]
        _refuse_programs(members, str(path))
        if len(roots) != 1:
            raise BadModel("not a PyTorch checkpoint: it has no data.pkl", str(path), "name the file's real format")
        root = roots[0]
        order = archive.read(root + "byteorder") if root + "byteorder" in members else b"little"
        if order != b"little":
            raise UnsupportedType("a checkpoint written on a big-endian machine", str(path), "save it again elsewhere")
        loaded: dict[str, Storage] = {}

        def storage(identity: Any) -> Storage:
            found = _storage(identity)
            key = str(identity[2])
            if key not in loaded:
                info = members.get(f"{root}data/{key}")
                if info is None:
                    raise BadModel(f"the storage '{key[:50]}' is missing", str(path), "the archive is damaged")
                found.data = _member(data, archive, info, str(path))
                check_size(found.count * found.dtype.itemsize, len(found.data), f"{path}, storage {key}")
                loaded[key] = found
            return loaded[key]

        program = memoryview(_member(data, archive, members[root + "data.pkl"], str(path)))
        return Machine(program, 0, _calls(str(path)), storage, str(path)).run()


def _refuse_programs(members: Mapping[str, Any], where: str) -> None:
    names = list(members)
    if any("/code/" in n or n.startswith("code/") for n in names):
        raise UnsafeModel(
            "this is TorchScript, a program; loading it runs its code",
            where,
            "convert from the model's Python source: package.module:factory --weights FILE",
        )
    if any(n.endswith(("serialized_exported_program.json", "models/model.json")) for n in names):
        raise UnsafeModel(
            "this is an exported program (.pt2); PyTorch runs code while loading it", where, "pass --trust"
        )


def _member(data: memoryview, archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> memoryview:
    """A stored member as a view of the file; a deflated one is read under its declared size."""
    if info.compress_type != zipfile.ZIP_STORED:
        check_size(info.file_size, max(info.compress_size, 1) * 1032, f"{where}, member {info.filename}")
        with archive.open(info) as file:
            return memoryview(file.read(info.file_size))
    at = info.header_offset
    check_size(at + 30, len(data), where)
    names, extra = struct.unpack("<HH", data[at + 26 : at + 30])
    start = at + 30 + names + extra
    check_size(start + info.file_size, len(data), f"{where}, member {info.filename}")
    return data[start : start + info.file_size]


def _read_legacy(data: memoryview, where: str) -> Any:
    """Before PyTorch 1.6: four pickles (magic, version, system, object), the storages' keys, then their bytes."""
    storages: dict[str, Storage] = {}

    def storage(identity: Any) -> Storage:
        key = str(identity[2])
        if key not in storages:
            storages[key] = _storage(identity)
        view = identity[5] if len(identity) > 5 else None
        if view is not None:
            raise UnsupportedType("storages that are views of others", where, "load and save it with a newer PyTorch")
        return storages[key]

    position, parts = 0, []
    for number in range(5):
        machine = Machine(data, position, _calls(where), storage, where)
        parts.append(machine.run())
        position = machine.position
        if number == 0 and parts[0] != _LEGACY_MAGIC:
            raise BadModel(
                "this is not a PyTorch checkpoint", where, "save it with torch.save(model.state_dict(), ...)"
            )
    for key in parts[4]:
        found = storages.get(str(key))
        check_size(position + 8, len(data), where)
        (count,) = struct.unpack("<q", data[position : position + 8])
        position += 8
        if found is None or count != found.count:
            raise BadModel(f"storage '{str(key)[:50]}' does not match its description", where, "the file is damaged")
        size = count * found.dtype.itemsize
        check_size(position + size, len(data), f"{where}, storage {key}")
        found.data = data[position : position + size]
        position += size
    return parts[3]


def _storage(identity: Any) -> Storage:
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise ValueError("unknown persistent id")
    kind = identity[1]
    name = kind.name if isinstance(kind, Global) else str(kind)
    dtype = _DTYPES.get(name.removesuffix("Storage"))
    if dtype is None:
        raise UnsupportedType(f"tensors of type {name}", fix="convert them to float or integers first")
    return Storage(np.dtype(dtype), int(identity[4]))


def _calls(where: str) -> dict[str, Call]:
    """Every call that is understood, as a description."""

    def rebuild(storage: Storage, offset: int, shape: Any, strides: Any, *_: Any) -> TensorView:
        if not isinstance(storage, Storage):
            raise TypeError("a tensor of no storage")
        return TensorView(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))

    def same(value: Any, *_: Any) -> Any:
        return value

    def refuse(*_: Any) -> Any:
        raise UnsupportedType("quantised or sparse tensors", where, "save the dequantised, dense state dict")

    def ordered(items: Any = ()) -> dict[Any, Any]:
        return dict(items)

    return {
        "torch._utils._rebuild_tensor": rebuild,
        "torch._utils._rebuild_tensor_v2": rebuild,
        "torch._utils._rebuild_parameter": same,
        "torch._utils._rebuild_parameter_with_state": same,
        "torch._utils._rebuild_qtensor": refuse,
        "torch._utils._rebuild_sparse_tensor": refuse,
        "collections.OrderedDict": ordered,
        "collections.defaultdict": lambda *_: {},
        "torch.Size": lambda items=(): tuple(items),
        "torch.device": lambda *names: str(names),
        "torch.serialization._get_layout": lambda name: str(name),
        "builtins.set": lambda items=(): set(items),
        "__builtin__.set": lambda items=(): set(items),
        "builtins.frozenset": lambda items=(): frozenset(items),
        "numpy.dtype": lambda *a: Instance(Global("numpy", "dtype"), a),
        "numpy.core.multiarray.scalar": lambda *a: Instance(Global("numpy", "scalar"), a),
        "numpy._core.multiarray.scalar": lambda *a: Instance(Global("numpy", "scalar"), a),
        "numpy.core.multiarray._reconstruct": lambda *a: Instance(Global("numpy", "ndarray"), a),
        "numpy._core.multiarray._reconstruct": lambda *a: Instance(Global("numpy", "ndarray"), a),
        "_codecs.encode": lambda text, coding="latin1": str(text).encode("latin1", "replace"),
        "copyreg._reconstructor": lambda kind, *_: Instance(kind),
        "copy_reg._reconstructor": lambda kind, *_: Instance(kind),
        "datetime.datetime": lambda *a: Instance(Global("datetime", "datetime"), a),
        "pathlib.PosixPath": lambda *a: Instance(Global("pathlib", "PosixPath"), a),
    }


def _named(root: Any, where: str) -> tuple[dict[str, ir.TensorProtocol], list[str]]:
    """Flatten to state-dict names; of a training checkpoint only the model's part is taken."""
    left: list[str] = []
    if isinstance(root, dict):
        inner = next((k for k in _WRAPPERS if isinstance(root.get(k), dict | Instance)), None)
        direct = any(isinstance(v, TensorView) for v in root.values())
        if inner is not None and not direct:
            left = [str(k) for k in root if k != inner]
            root = root[inner]
    tensors: dict[str, ir.TensorProtocol] = {}
    for name, view in _walk(root, "", 0):
        if not isinstance(view, TensorView):
            left.append(name)
            continue
        array = view.array(f"{where}, tensor {name}")
        tensors[name] = ir.Tensor(array, name=name)
    if not tensors:
        raise BadModel(
            "the checkpoint holds no tensors", where, "save the state dict: torch.save(model.state_dict(), ...)"
        )
    return tensors, left


def _walk(value: Any, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > 100:
        raise TooLarge("nested too deeply", prefix[:100], "this is no state dict")
    if isinstance(value, Instance) and isinstance(value.state, dict):
        state = value.state
        for part in ("_parameters", "_buffers", "_modules"):  # a whole module was pickled: its weights are plain data
            yield from _walk(state.get(part) or {}, prefix, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            name = f"{prefix}.{key}" if prefix else str(key)
            if item is not None:
                yield from _walk(item, name, depth + 1)
    elif prefix:
        yield prefix, value

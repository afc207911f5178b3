"""The ``.keras`` archive: a zip with ``config.json``, ``metadata.json`` and ``model.weights.h5``. Never extracted."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

from recast._util.bounded import as_bad_model, check_size, open_bytes
from recast.errors import BadModel, TooLarge, UnsafeModel

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MAX_MEMBERS = 10_000
_MAX_JSON_BYTES = 256 << 20
_MAX_RATIO = 200  # deflate reaches 1030 on zeros; weights reach 1.1
_FREE_BYTES = 64 << 20  # members up to this size may have any ratio


def is_keras_archive(path: Path) -> bool:
    """Whether a zip file holds Keras's ``config.json``. Damaged archives are not."""
    try:
        with zipfile.ZipFile(path) as archive:
            return CONFIG in archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        return False


class Archive:
    """Members of a ``.keras`` file, as views of the file where they are stored uncompressed.

    Raises:
        BadModel: no zip archive, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self.data = open_bytes(path)
        try:
            with zipfile.ZipFile(_Bytes(self.data)) as archive:
                entries = archive.infolist()
        except Exception as error:  # zipfile raises anything on damaged archives
            raise as_bad_model(error, self.where) from error
        if len(entries) > _MAX_MEMBERS:
            raise TooLarge(f"{len(entries)} members in the archive", self.where, "this is no Keras model")
        for entry in entries:
            if entry.filename.startswith(("/", "\\")) or ".." in entry.filename.replace("\\", "/").split("/"):
                raise UnsafeModel(
                    f"a member of the archive is called '{entry.filename[:100]}', outside the archive",
                    self.where,
                    "the file was not made by Keras: do not trust it",
                )
        self._entries = {entry.filename: entry for entry in entries}
        if len(self._entries) != len(entries):
            raise BadModel("two members of the archive have the same name", self.where, "save the model again")

    def names(self) -> list[str]:
        """Names of the members."""
        return list(self._entries)

    def member(self, name: str) -> memoryview:
        """The bytes of a member.

        Raises:
            BadModel: no such member, or it is damaged or encrypted.
            TooLarge: it declares or unpacks to far more than the archive holds.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise BadModel(f"the archive has no '{name}'", self.where, "save the whole model: model.save('m.keras')")
        where = f"{self.where}: {name}"
        if entry.flag_bits & 1:
            raise BadModel("the member is encrypted", where, "save the model without a password")
        check_size(entry.compress_size, len(self.data), where)
        head = bytes(self.data[entry.header_offset : entry.header_offset + 30])
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise BadModel("the archive's directory points to nothing", where, "export or copy the file again")
        name_length, extra_length = struct.unpack_from("<HH", head, 26)
        start = entry.header_offset + 30 + name_length + extra_length
        packed = self.data[start : start + entry.compress_size]
        check_size(entry.compress_size, len(packed), where)
        if entry.compress_type == zipfile.ZIP_STORED:
            if zlib.crc32(packed) != entry.CRC:
                raise BadModel("the member is damaged (checksum)", where, "export or copy the file again")
            return packed
        return self._inflate(packed, entry, where)

    def _inflate(self, packed: memoryview, entry: zipfile.ZipInfo, where: str) -> memoryview:
        if entry.compress_type != zipfile.ZIP_DEFLATED:
            raise BadModel("an unknown compression in the archive", where, "save the model with Keras again")
        limit = _MAX_JSON_BYTES if entry.filename.endswith(".json") else 1 << 40
        check_size(entry.file_size, min(limit, max(_FREE_BYTES, _MAX_RATIO * len(packed))), where)
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            out = inflater.decompress(packed, entry.file_size + 1)
        except zlib.error as error:
            raise as_bad_model(error, where) from error
        if len(out) != entry.file_size or zlib.crc32(out) != entry.CRC:
            raise BadModel("the member is damaged (size or checksum)", where, "export or copy the file again")
        return memoryview(out)


class _Bytes(io.RawIOBase):
    """A seekable file over a memory view, for ``zipfile``'s directory reader."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._position = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        position = (0, self._position, len(self._data))[whence] + offset
        if position < 0:
            raise OSError("negative position")
        self._position = position
        return position

    def read(self, size: int | None = -1) -> bytes:
        end = len(self._data) if size is None or size < 0 else self._position + size
        chunk = bytes(self._data[self._position : end])
        self._position += len(chunk)
        return chunk

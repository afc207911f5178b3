"""OpenVINO IR: ``.xml`` with its weights in ``.bin`` beside it, read as plain XML; the judge is OpenVINO."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from recast.formats._format import Artifact, Format, ReadOptions, Runner, WriteOptions

if TYPE_CHECKING:
    import onnx_ir as ir

_NET = re.compile(rb"<net\s[^>]*>")


class OpenVino(Format):
    """Versions 10 and 11 are read; written where OpenVINO is installed."""

    name: ClassVar[str] = "openvino"
    title: ClassVar[str] = "OpenVINO IR"
    suffixes: ClassVar[tuple[str, ...]] = (".xml",)
    companions: ClassVar[Mapping[str, str]] = {".xml": ".bin"}
    via: ClassVar[str] = "onnx"
    judge: ClassVar[tuple[str, str]] = ("openvino", "openvino")

    def sniff(self, path: Path, head: bytes) -> bool:
        """An XML text whose root is ``net``."""
        return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and _NET.search(head) is not None

    def read(self, path: Path, options: ReadOptions) -> ir.Model:
        """See ``Format.read``."""
        from recast.formats.openvino.read import read

        return read(path, options)

    def write(self, model: ir.Model, path: Path, options: WriteOptions) -> Artifact:
        """Write an ONNX file, which ``openvino.convert_model`` turns into IR in a child process (see ``export.py``)."""
        from recast.formats.openvino.write import write

        return write(model, path, options, self.through)

    def open(self, path: Path) -> Runner:
        """Load the file in OpenVINO's CPU plugin in float32, in a child process."""
        return self._open(path, {})

    def open_deployed(self, path: Path) -> Runner:
        """In the precision that OpenVINO chooses for this machine."""
        return self._open(path, {"optimization": "all"})

    def _open(self, path: Path, options: dict[str, str]) -> Runner:
        from recast._util.child import RemoteRunner
        from recast._util.optional import have
        from recast.errors import MissingDependency

        if not have("openvino"):
            raise MissingDependency("'openvino' is not installed", str(path), "pip install 'recast-nn[openvino]'")
        return RemoteRunner("recast.formats.openvino.run", path, options)


FORMAT = OpenVino()

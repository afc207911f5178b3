"""Convert a Keras file to every format and print what was proved: ``python keras_to_everything.py model.keras``."""

from __future__ import annotations

import sys
from pathlib import Path

import recast


def main(source: Path) -> None:
    """Write the model beside itself in five formats."""
    for suffix in (".onnx", ".tflite", ".py", ".mindir", ".safetensors"):
        target = source.with_name(f"{source.stem}-converted{suffix}")
        try:
            result = recast.convert(source, target, recast.Recipe(writing=recast.Writing(force=True)))
        except recast.RecastError as error:
            print(f"{suffix}: refused\n{error}")
            continue
        print(f"{suffix}: {result.verdict}, {target.stat().st_size if target.exists() else 0:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

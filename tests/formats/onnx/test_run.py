"""The judge of ONNX files: what is fused, and what must not be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from recast import formats
from recast.compressing import Settings, compress
from recast.compression.gate import Limits
from recast.compression.recipe import Quantize
from recast.formats._format import WriteOptions
from recast.graph.build import Builder


def test_four_bit_weights_are_judged_with_float_inputs(tmp_path: Path, rng: np.random.Generator) -> None:
    """ONNX Runtime fuses a MatMul with 4-bit weights to one that rounds its input to 8 bits."""
    b = Builder("net")
    x = b.input("x", ir.DataType.FLOAT, ("batch", 67))
    h = b.op("Relu", [b.op("Gemm", [x, b.weight("w", (rng.standard_normal((67, 71)) / 8).astype(np.float32))])])
    y = b.op("Gemm", [h, b.weight("v", (rng.standard_normal((71, 73)) / 8).astype(np.float32))])
    b.output(y, "y")
    source, data = tmp_path / "n.onnx", tmp_path / "d.npz"
    formats.by_name("onnx").write(b.model(), source, WriteOptions())
    np.savez(data, x=rng.standard_normal((64, 67)).astype(np.float32))
    limits = Limits(error=0.3, disagree=1.0, slower=1e9)
    made = compress(source, tmp_path / "s.onnx", Quantize("int4"), Settings(data=data, limits=limits))
    assert made.outcome == "accepted", made.reasons
    assert made.comparison is not None
    assert made.comparison.size_bytes[1] < 0.4 * made.comparison.size_bytes[0]

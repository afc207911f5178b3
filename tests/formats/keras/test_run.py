"""The judge: files with several inputs, names as the reader gives them, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from recast.errors import RecastError
from recast.formats._format import ReadOptions
from recast.formats.keras import FORMAT

pytest.importorskip("keras")

MAKE = """
import sys, keras, numpy as np
from keras import layers as L
a, b = keras.Input((7, 5), name="left"), keras.Input((5,), name="right")
d = L.Dense(5, name="both")
model = keras.Model({"z": a, "y": b}, [d(a), d(b), L.LSTM(3, name="last")(a)])
model.save(sys.argv[1])
"""


def test_several_inputs_and_outputs(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "m.keras"
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", MAKE, str(path)], check=True, env=quiet, capture_output=True)
    model = FORMAT.read(path, ReadOptions())
    session = onnxruntime.InferenceSession(ir.serde.serialize_model(model).SerializeToString())
    feeds = {"left": rng.normal(size=(3, 7, 5)).astype("f4"), "right": rng.normal(size=(3, 5)).astype("f4")}
    names = [o.name for o in session.get_outputs()]
    got = dict(zip(names, session.run(None, feeds), strict=True))
    with FORMAT.open(path) as judge:
        assert sorted(s.name for s in judge.inputs) == ["left", "right"]
        assert [s.name for s in judge.outputs] == names == ["both", "both_1", "last"]
        assert next(s for s in judge.inputs if s.name == "left").shape == ("batch", 7, 5)
        wanted = judge.run(feeds)
    for name, value in wanted.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-5)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "m.keras").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(RecastError):
        FORMAT.open(tmp_path / "m.keras")

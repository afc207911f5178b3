"""A deferred module loads at its first use and then is the module."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_loads_at_first_use() -> None:
    code = (
        "import sys; from recast._util.defer import defer; defer('colorsys'); import colorsys;"
        "print(hasattr(sys.modules['colorsys'], '__file__'), end=' ');"
        "print(colorsys.rgb_to_hsv(1, 0, 0), end=' '); import colorsys as c; print(c.__file__.endswith('.py'))"
    )
    assert run(code) == "False (0.0, 1.0, 1) True"


def test_onnx_ir_works_without_sympy_until_it_is_needed() -> None:
    code = (
        "import sys, recast.graph, onnx_ir as ir; d = ir.SymbolicDim('N'); before = 'sympy.core' in sys.modules;"
        "print(before, d + 1, 'sympy.core' in sys.modules)"
    )
    assert run(code) == "False N + 1 True"


def test_a_missing_module_is_left_alone() -> None:
    assert (
        run("import sys; from recast._util.defer import defer; defer('no.such'); print('no.such' in sys.modules)")
        == "False"
    )


def test_a_module_of_a_deferred_package_loads_the_package_first() -> None:
    code = (
        "import sys; from recast._util.defer import defer; defer('wsgiref'); defer('wsgiref.util');"
        "import wsgiref.util as u; print('wsgiref.headers' in sys.modules, u.guess_scheme({}),"
        "hasattr(sys.modules['wsgiref'], '__file__'))"
    )
    assert run(code) == "False http True"


def test_onnx_text_forms_work_when_they_are_needed() -> None:
    code = (
        "import recast.graph, onnx; m = onnx.helper.make_model(onnx.helper.make_graph([], 'g', [], []));"
        "text = onnx.serialization.registry.get('textproto').serialize_proto(m); print(b'name: \"g\"' in text)"
    )
    assert run(code) == "True"


def test_what_stands_in_leaves_nothing_behind() -> None:
    code = (
        "import sys, recast.formats.keras.hdf5_header; from pyfive import btree; before = 'numcodecs' in sys.modules;"
        "print(before, btree._FLETCHER32_CODEC.codec_id, 'numcodecs.zlib' in sys.modules)"
    )
    assert run(code) == "False fletcher32 True"

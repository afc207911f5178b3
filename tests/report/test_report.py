"""One report, three renderings: the figures are the same in all of them, and nothing in a file's names gets loose."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from recast.errors import BadModel
from recast.report import units
from recast.report.charts import pixels, svg
from recast.report.charts.scatter import Point, front, scatter
from recast.report.document import Report
from tests.report.samples import EVIL, evaluation


def test_text_holds_the_figures() -> None:
    text = Report(evaluation()).text()
    line = next(x for x in text.splitlines() if x.startswith("small.tflite"))
    for figure in ("90 KB", "45 KB", "85.0 %", "93.0 %", "2,700", "900 µs"):
        assert figure in line, figure
    assert "−2.0 (−7.0 … +3.0)" in text
    assert "dog: −25.0" in text
    assert "note: something was left out (layer rnn)" in text


def test_json_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(Report(evaluation()).json())
    assert Report.load(path).as_dict() == evaluation()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1",
        "[]",
        '{"models": [{}]}',
        '{"models": 3}',
        '{"verdict": "failed", "feeds": [1]}',
        "{}",
        '"x"',
        "[" * 9999,
    ],
)
def test_damaged_reports_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(BadModel):
        Report.load(path)


def test_page_is_self_contained_and_escaped() -> None:
    page = Report(evaluation()).html()
    assert EVIL not in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page
    for address in re.findall(r'(?:href|src|url|action)\s*[=(]\s*["\']?([^"\')\s>]+)', page):
        assert address.startswith("data:image/png;base64,")
    assert set(re.findall(r"https?://[^\"'\s<]+", page)) == {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_pictures_are_well_formed_and_inside_their_frames() -> None:
    page = Report(evaluation()).html()
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) >= 5
    for picture in pictures:
        tree = ET.fromstring(picture)
        width, height = (float(v) for v in tree.attrib["viewBox"].split()[2:])
        for part in tree.iter():
            for name, limit in (("x", width), ("cx", width), ("y", height), ("cy", height)):
                assert -1 <= float(part.attrib.get(name, 0)) <= limit + 1, ET.tostring(part)


def test_pareto_front_by_hand() -> None:
    costs = [(1, 5), (2, 4), (3, 7), (3, 6), (9, 7), (10, 8)]
    points = [Point(str(i), float(c), float(g), g - 1.0, g + 1.0) for i, (c, g) in enumerate(costs)]
    assert front(points) == [0, 2, 5]
    drawn = ET.fromstring(scatter(points, ("cost", "good"), str, str))
    rings = [e for e in drawn.iter() if e.tag.endswith("circle") and e.attrib.get("fill") == "none"]
    assert len(rings) == 3


def test_layers_of_one_name_share_a_group() -> None:
    """``model/conv`` of a TFLite file is ``conv`` of the Keras file."""
    page = Report(evaluation()).html()
    bars = next(p for p in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if "Weights by layer" in p)
    assert re.findall(r'text-anchor="end"[^>]*>([^<]+)<', bars) == ["conv", "dense"]


def test_certificates_are_reported_too(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite.recast.json"
    facts = [{"name": "net.h5", "size_bytes": 1234567, "sha256": "ab" * 32}]
    outputs = [{"output": "y", "accepted": False, "stage": 1, "max_abs": 0.25, "relative": "inf", "ratio": 9.0}]
    data = {
        "verdict": "failed", "inputs": facts, "outputs": facts, "feeds": [{"name": "normal", "outputs": outputs}],
        "wrong": {"kind": "value", "what": "outputs differ", "where": "y"}, "notes": [], "findings": [],
    }  # fmt: skip
    path.write_text(json.dumps(data))
    text = Report.load(path).text()
    assert "note: failed" in text
    assert "outputs differ (y)" in text
    assert "1.23 MB" in text
    assert "net.h5" in Report.load(path).html()


def test_units() -> None:
    assert [units.data_size(v) for v in (0, 999, 98_496, 3_411_016, 2e9)] == [
        "0 B",
        "999 B",
        "98.5 KB",
        "3.41 MB",
        "2 GB",
    ]
    assert [units.seconds(v) for v in (1.5, 0.00123, 8.7e-5, 3e-9)] == ["1.5 s", "1.23 ms", "87 µs", "3 ns"]
    assert units.interval("accuracy", {"value": 0.855, "low": 0.8, "high": 0.8971}) == "85.5 % (80.0 … 89.7)"
    assert units.interval("AUC", {"value": -0.03, "low": -0.05, "high": 0.01}, True) == "−0.030 (−0.050 … +0.010)"
    assert units.precise("inf") == "inf"


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (79.4, 89.7), (1e-6, 3e-6), (-5.0, 5.0), (2.0, 2.0)])
def test_axes_have_a_few_round_numbers(low: float, high: float) -> None:
    ticks = svg.round_numbers(low, high if high > low else low + 1)
    assert 3 <= len(ticks) <= 11
    assert svg.Scale(80e3, 4e6, 0, 1, True).ticks()[:1] == [100e3]


def test_png_is_read_back_by_another_library() -> None:
    import base64
    import io

    image = pytest.importorskip("PIL.Image")
    pixel = [[(i, j, 7) for j in range(5)] for i in range(3)]
    data = base64.b64decode(pixels.png(pixel).partition(",")[2])
    opened = image.open(io.BytesIO(data))
    assert opened.size == (5, 3)
    assert [list(opened.get_flattened_data() if hasattr(opened, "get_flattened_data") else opened.getdata())][0] == [
        p for row in pixel for p in row
    ]

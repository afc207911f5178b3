"""Draw results: rich tables for people, one JSON object for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from recast._util import progress as events
from recast._util.optional import have
from recast.cli.guard import painted, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from recast.demo import Row
    from recast.formats._format import Finding, Format
    from recast.pipeline import Conversion
    from recast.report.summary import Summary
    from recast.verification.outcome import Report

_SHOW_AFTER_S = 1.0
_STYLES = {"verified": "bold green", "failed": "bold red", "not judged": "yellow", "not verified": "yellow"}


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def _table(title: str, *columns: str) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(title=title or None, box=SIMPLE, title_justify="left", padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", min_width=min(len(column), 8))
    return table


def json_object(data: Any) -> None:
    """One JSON object for programs."""
    print(json.dumps(data, indent=1, ensure_ascii=False, default=str))  # noqa: T201


def shape_text(shape: Sequence[int | str]) -> str:
    """``1×3×224×224``; a scalar is ``scalar``."""
    return "×".join(printable(str(d)) for d in shape) or "scalar"


def bytes_text(count: int) -> str:
    """Bytes with a unit that a person reads."""
    size = float(count)
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "B" else f"{count} B"
        size /= 1000
    return f"{size:.3g} GB"


@contextmanager
def progress(quiet: bool) -> Iterator[None]:
    """Show what is being done on the terminal's error stream, once it has taken over a second."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    start = time.monotonic()
    with ExitStack() as ends:
        bars: list[_Bar] = []

        def listen(event: events.Event) -> None:
            if not bars and time.monotonic() - start > _SHOW_AFTER_S:
                bars.append(ends.enter_context(_Bar()))
            if bars:
                bars[0].show(event)

        with events.listening(listen):
            yield


class _Bar:
    """The progress line."""

    def __enter__(self) -> _Bar:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._line = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
            console=_console(stderr=True), transient=True,
        )  # fmt: skip
        self._task = self._line.add_task("starting", total=None)
        self._line.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._line.stop()

    def show(self, event: events.Event) -> None:
        self._line.update(self._task, description=event.task, completed=event.done, total=event.total)


def say(text: str, style: str = "") -> None:
    """One line."""
    print(painted(printable(text), style, sys.stdout))  # noqa: T201


def findings(found: Sequence[Finding]) -> None:
    """What was changed, approximated or left out."""
    for finding in found:
        mark = painted("note", "yellow" if finding.level == "warning" else "dim", sys.stdout)
        where = f" ({finding.where})" if finding.where else ""
        print(mark, printable(f"{finding.what}{where}"))  # noqa: T201


def conversion(result: Conversion, as_json: bool) -> None:
    """Show what ``convert`` did."""
    if as_json:
        json_object(
            {
                "source_format": result.source_format,
                "target_format": result.target_format,
                "files": [str(f) for f in result.files],
                "verdict": result.verdict,
                "findings": [vars(f) for f in result.findings],
                "report": result.report.summary() if result.report else None,
                "seconds": {k: round(v, 4) for k, v in result.seconds.items()},
            }
        )
        return
    findings(result.findings)
    for file in result.files:
        size = sum(p.stat().st_size for p in [file, *file.rglob("*")] if p.is_file())
        say(f"  {file}  ({bytes_text(size)})", "bold")
    if result.report is None or result.verdict == "not judged":
        say(result.verdict, _STYLES[result.verdict])
    if result.report is not None:
        _report(result.report)


def _report(report: Report) -> None:
    first, *rest = report.summary()
    if report.feeds or report.wrong:
        say(first, _STYLES["verified" if report.passed else "failed"])
    else:
        rest = rest[2:]
    for line in rest:
        say(f"  {line}")


def verification(report: Report, as_json: bool) -> None:
    """Show what ``verify`` found."""
    if as_json:
        from recast.verification.certificate import certificate

        json_object(certificate(report, ((), ())))
    else:
        _report(report)


def summary(model: Summary, as_json: bool) -> None:
    """Show what ``inspect`` found."""
    if as_json:
        json_object(model.as_dict())
        return
    console = _console()
    quantized = ", quantised" if model.quantized else ""
    console.print(
        f"{model.format}: {model.parameters:,} parameters, {bytes_text(model.weight_bytes)} of weights{quantized}",
        style="bold",
    )
    table = _table("", "", "name", "type", "shape")
    for kind, lines in (("input", model.inputs), ("output", model.outputs)):
        for line in lines:
            table.add_row(kind, printable(line.name), line.dtype, shape_text(line.shape))
    console.print(table)
    layers = _table("", "layer", "was", "operators", "output", "parameters")
    for layer in model.layers:
        operators = " ".join(o for o in layer.operators if o != "Transpose") or "Transpose"
        count = f"{layer.parameters:,}" if layer.parameters else ""
        layers.add_row(printable(layer.name), printable(layer.origin), operators, shape_text(layer.output), count)
    console.print(layers)


def formats(found: Sequence[Format], as_json: bool) -> None:
    """Show the formats and whether their judges are installed."""
    rows = [
        {
            "name": f.name,
            "title": f.title,
            "suffixes": list(f.suffixes),
            "read": f.can_read,
            "write": f.can_write,
            "graph": f.has_graph,
            "judge": f.judge[0],
            "judge_installed": not f.judge[0] or have(f.judge[0].split(".")[0]),
            "extra": f.judge[1],
        }
        for f in found
    ]
    if as_json:
        json_object(rows)
        return
    table = _table("", "name", "format", "suffixes", "read", "write", "judge")
    for row in rows:
        installed = "installed" if row["judge_installed"] else f"pip install 'recast-nn[{row['extra']}]'"
        judge = f"{row['judge']} ({installed})" if row["judge"] else "exact comparison"
        yes = {True: "yes", False: "–"}
        suffixes = " ".join(row["suffixes"])  # type: ignore[arg-type]
        reads = yes[bool(row["read"])] + ("" if row["graph"] else " (weights)")
        table.add_row(
            str(row["name"]), str(row["title"]), suffixes, reads, yes[bool(row["write"])], judge, end_section=False
        )
    _console().print(table)


def demo(rows: Sequence[Row], as_json: bool) -> None:
    """Show the demo's table."""
    if as_json:
        json_object([vars(row) for row in rows])
        return
    console = _console()
    console.print("digits.keras: a small CNN for handwritten digits; accuracy on 200 held-out images", style="bold")
    table = _table("", "file", "bytes", "accuracy", "max error", "time", "verdict")
    for column in table.columns:
        column.no_wrap = True
    for row in rows:
        accuracy = f"{row.accuracy:.1%}" if row.accuracy is not None else "–"
        error = f"{row.max_error:.1e}" if row.max_error is not None else "–"
        seconds = f"{row.convert_s * 1000:.0f} ms" if row.convert_s is not None else "–"
        style = _STYLES.get(row.verdict, "default")
        table.add_row(row.file, f"{row.size_bytes:,}", accuracy, error, seconds, f"[{style}]{row.verdict}[/{style}]")
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"  {row.file}: {row.note}", markup=False, style="dim")

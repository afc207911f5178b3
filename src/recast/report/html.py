"""A report as one HTML page: styles and pictures inside, no script, nothing loaded from anywhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from recast.report.blocks import Block, Figure, Note, Section, Table

if TYPE_CHECKING:
    from recast.report.document import Report

# a browser that is told so would refuse to load anything even if text from a file got through
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
:root { --ink: #1f2328; --faint: #6b7280; --grid: #e5e7eb; --paper: #fff; --card: #f8fafc; --warn: #fff7ed;
  --warn-ink: #9a3412; --accent: #0072B2; color-scheme: light dark }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --faint: #9aa4b0; --grid: #30363d; --paper: #0d1117;
  --card: #161b22; --warn: #2d1f14; --warn-ink: #fdba74; --accent: #56B4E9 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
main { max-width: 1160px; margin: 0 auto; padding: 32px 24px 64px }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 19px; margin: 40px 0 12px }
.lead { color: var(--faint); margin: 0 0 8px }
.scroll { overflow-x: auto; border: 1px solid var(--grid); border-radius: 8px; margin: 12px 0 }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { padding: 7px 12px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--grid) }
th { background: var(--card); color: var(--faint); font-weight: 600 }
th:first-child, td:first-child { text-align: left; font-weight: 600; position: sticky; left: 0;
  background: var(--paper) }
th:first-child { background: var(--card) }
tr:last-child td { border-bottom: 0 }
caption { text-align: left; padding: 8px 12px; color: var(--faint); caption-side: top }
p.info { color: var(--faint); font-size: 13.5px; max-width: 90ch }
p.warning { background: var(--warn); color: var(--warn-ink); padding: 8px 14px; border-radius: 8px; font-size: 14px }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); gap: 16px }
figure { margin: 0; padding: 16px; border: 1px solid var(--grid); border-radius: 8px; background: var(--card) }
figure.wide { grid-column: 1 / -1; overflow-x: auto }
figcaption { color: var(--faint); font-size: 12.5px; margin-top: 8px }
svg { display: block; font-family: inherit } footer { margin-top: 48px; color: var(--faint); font-size: 12.5px }
"""


def page(report: Report) -> str:
    """The whole page."""
    data = report.data
    names = [m["name"] for m in data.get("models", ())] or [f["name"] for f in data.get("outputs", ())]
    title = "Evaluation" if data.get("models") else "Certificate"
    if data.get("kind") == "tuning":
        names, title = [data["source"], data["target"]], "Search"
    version = data.get("recast") or (data.get("tool") or {}).get("version") or ""
    body = "".join(_section(s) for s in report.sections())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}: {escape(', '.join(names))}</title><style>{_STYLE}</style></head>\n"
        f'<body><main><h1>{title}</h1><p class="lead">{escape(", ".join(names))}</p>{body}'
        f"<footer>recast {escape(str(version))}</footer></main></body></html>\n"
    )


def _section(section: Section) -> str:
    parts, figures = [f"<section><h2>{escape(section.title)}</h2>"], []
    for block in section.blocks:
        if isinstance(block, Figure):
            figures.append(_figure(block))
            continue
        parts += _grid(figures)
        figures = []
        parts.append(_block(block))
    return "".join([*parts, *_grid(figures), "</section>\n"])


def _grid(figures: list[str]) -> list[str]:
    return [f'<div class="figures">{"".join(figures)}</div>'] if figures else []


def _figure(figure: Figure) -> str:
    kind = ' class="wide"' if figure.wide else ""
    return f"<figure{kind}>{figure.svg}<figcaption>{escape(figure.caption)}</figcaption></figure>"


def _block(block: Block) -> str:
    if isinstance(block, Note):
        return f'<p class="{escape(block.level)}">{escape(block.text)}</p>'
    if isinstance(block, Table):
        caption = f"<caption>{escape(block.caption)}</caption>" if block.caption else ""
        head = "".join(f"<th>{escape(c)}</th>" for c in block.columns)
        rows = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in block.rows)
        return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    return ""

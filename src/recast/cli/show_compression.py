"""Draw what ``compress`` did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recast.cli import show

if TYPE_CHECKING:
    from recast.compressing import Compression
    from recast.compression.gate import Comparison

_STYLES = {"accepted": "bold green", "refused": "bold red"}


def compression(result: Compression, as_json: bool) -> None:
    """Plans, findings, the comparison and the outcome."""
    if as_json:
        show.json_object(_plain(result))
        return
    for plan in result.plans:
        lines = str(plan).splitlines()
        for line in lines if result.outcome == "planned" else [lines[0], *(x for x in lines if x.startswith("  skip"))]:
            show.say(line)
    show.findings(result.findings)
    for file in result.files:
        size = file.stat().st_size if file.is_file() else 0
        show.say(f"  {file}  ({show.bytes_text(size)})", "bold")
    for line in _compared(result):
        show.say(f"  {line}")
    show.say(result.outcome, _STYLES.get(result.outcome, "yellow"))
    for reason in result.reasons:
        show.say(f"  {reason}")


def _compared(result: Compression) -> list[str]:
    found = result.comparison
    if found is None:
        return []
    old, new = found.size_bytes
    lines = [f"size      {old:,} → {new:,} bytes ({new / old:.1%} of the original in this format)"]
    if found.accuracy is not None:
        lines.append(
            f"{found.metric or 'accuracy':8}  {found.accuracy[0]:.2%} → {found.accuracy[1]:.2%}{_between(found)}"
        )
    if found.disagree is not None:
        lines.append(f"answers   {1 - found.disagree:.2%} as the original's")
    if found.error is not None:
        lines.append(f"outputs   differ by {found.error:.3g} of their deviation")
    if found.latency_s is not None and found.slowdown is not None:
        times = " → ".join(f"{t * 1e3:.3g}" for t in found.latency_s)
        lines.append(f"one run   {times} ms ({found.slowdown:.2f} times the original's)")
    return lines


def _plain(result: Compression) -> dict[str, Any]:
    return {
        "outcome": result.outcome,
        "reasons": list(result.reasons),
        "files": [str(f) for f in result.files],
        "plans": [p.as_dict() for p in result.plans],
        "comparison": result.comparison.as_dict() if result.comparison else None,
        "findings": [vars(f) for f in result.findings],
    }


def _between(found: Comparison) -> str:
    if found.interval is None:
        return ""
    low, high = (100 * f for f in found.interval)
    return f" (difference {low:+.2f} to {high:+.2f} points, 95 %)"

"""Whether the runs prove anything: a network that amplifies rounding hides faults behind it.

An accepted run counts where the error that was allowed is a small part of the outputs (``Difference.slack`` against the
tolerance's ``weak``), or where both runtimes agree within a few roundings anyway; but see ``Report.proofs``.
"""

from __future__ import annotations

from recast.verification.outcome import Note, Report, Wrong

WANTED = 2  # runs that count, before a verdict can be "verified"


def missing(report: Report) -> int:
    """Runs that still have to count; 0 where something is wrong already, or enough is shown."""
    if report.wrong is not None:
        return 0
    return max(0, WANTED - len(report.proofs))


def settle(report: Report) -> None:
    """Say how many runs did not count; too few are a failed verdict, since nothing is proved."""
    ran = [r for r in report.feeds if r.differences]
    proofs = report.proofs
    weak = [r for r in ran if r not in proofs]
    if report.wrong is not None or not weak:
        return
    slack = max(d.slack for r in weak for d in r.differences)
    told = f"rounding alone may move the outputs by {slack:.2g} of their scale"
    if len(proofs) >= min(WANTED, len(ran)):
        text = f"{len(weak)} of {len(ran)} inputs do not count: {told}"
        report.notes.append(Note(text, ", ".join(r.name for r in weak)))
        return
    text = f"nothing is proved: on {len(weak)} of {len(ran)} inputs {told}; give real samples with --data"
    report.failed(Wrong("feeds", text))

"""Third-party converters as optional edges: each runs in a child process, and its result is proved like ours.

``convert`` is what the command line and ``recast.convert`` call: our own route, or one through a tool (``via``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recast import pipeline
from recast.errors import RecastError
from recast.recipe import Recipe

if TYPE_CHECKING:
    from recast.routes.through import Via
    from recast.verification.memory import Memory


def convert(
    source: str | Path,
    target: str | Path,
    recipe: Recipe = Recipe(),  # noqa: B008 frozen
    memory: Memory | None = None,
    via: Via | str = "",
) -> pipeline.Conversion:
    """Convert one file into another and prove it.

    Args:
        source: model file, folder, or ``package.module:factory``.
        target: the output; its suffix chooses the format.
        recipe: how.
        memory: for several targets of one source: what its runtime says is asked once.
        via: a third-party converter (``"tf2onnx"``, or a ``Via`` with its interpreter and bounds); "" is our own route.

    Raises:
        RecastError: refused or failed before anything was written; where a third-party route might do, the fix names
            it. A result that does not match the source is *not* raised: it is written as ``NAME.unverified`` and
            ``Conversion.passed`` is False.
    """
    try:
        if via:
            from recast.routes import through

            return through.convert(source, target, recipe, through.Via(via) if isinstance(via, str) else via, memory)
        return pipeline.convert(source, target, recipe, memory)
    except RecastError as error:
        from recast.routes.advice import advise

        advise(error, str(source), Path(target), recipe, bool(via))
        raise

"""Optional packages: tell *missing* from *present but broken*."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from recast.errors import MissingDependency


def have(package: str) -> bool:
    """Whether a package is installed (it is not imported)."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def need(package: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Args:
        package: import name, e.g. ``"torch"``.
        extra: the extra of ``recast-nn`` that installs it.

    Raises:
        MissingDependency: the package is absent, or importing it fails.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name == package.split(".")[0]:
            raise MissingDependency(f"'{package}' is not installed", fix=f"pip install 'recast-nn[{extra}]'") from error
        raise MissingDependency(
            f"'{package}' is installed but broken: it needs '{error.name}'", fix=f"pip install {error.name}"
        ) from error
    except Exception as error:  # a broken native library raises anything
        raise MissingDependency(
            f"'{package}' is installed but broken: {type(error).__name__}: {error}",
            fix=f"pip install --force-reinstall 'recast-nn[{extra}]'",
        ) from error

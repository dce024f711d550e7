"""What to install where a package is missing: all of crossmodal, or one of its extras."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tasks.errors import EnvironmentFailed

_OURS = frozenset({"crossmodal", "data_contracts", "deployments", "flows", "tasks"})
_EXTRAS = {
    "captum": "explain",
    "diffusers": "diffusion",
    "fsspec": "remote",
    **dict.fromkeys(("onnx", "onnxruntime", "onnxscript"), "compress"),
    "optuna": "tune",
    "s3fs": "remote",
    "psycopg2": "postgres",
    "prefect_kubernetes": "kubernetes",
    "ray": "ray",
    "timm": "timm",
}
"""Package to the extra that brings it; what is on no list belongs to crossmodal itself."""


def missing_package(error: ModuleNotFoundError) -> EnvironmentFailed | None:
    """The error that says which package is missing and what brings it; None where a module of our own is: that is a bug."""
    package = (error.name or "").partition(".")[0]
    if not package or package in _OURS:
        return None
    extra = _EXTRAS.get(package)
    way = (
        f"pip install 'crossmodal[{extra}]'"
        if extra
        else "install all of them: pip install crossmodal, without --no-deps"
    )
    return EnvironmentFailed(f"the package {package!r} is not installed, which this needs; {way}")


@contextlib.contextmanager
def missing_packages_named() -> Iterator[None]:
    """A package that the block does not find is EnvironmentFailed, which says what brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        known = missing_package(error)
        if known is None:
            raise
        raise known from error

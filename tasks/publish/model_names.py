"""What a model and an alias may be called: they become folder names, tags and addresses."""

from __future__ import annotations

import re

from data_contracts.refs import MODEL_NAME
from tasks.errors import UsageError
from tasks.escaping import one_line

_NAME = re.compile(MODEL_NAME)
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
_SHOWN = 80
_LOCKS = (".lock", ".lease")
_VERSION_LIKE = re.compile(r"[vV][0-9]+")


def check_model_name(name: str | None) -> str:
    """The name, when it is one: letters, digits, `.`, `_`, `-`, at most 100, a letter or digit first, and no lock's. UsageError
    else."""
    if name is None or _NAME.fullmatch(name) is None:
        raise UsageError(
            f"model name {name and one_line(name, _SHOWN)!r}: use up to 100 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit (--set name=...)"
        )
    if name.endswith(_LOCKS):
        raise UsageError(
            f"model name {name!r}: the store's locks end so, that of {name.rpartition('.')[0]!r} among them; choose another "
            "(--set name=...)"
        )
    return name


def check_alias(alias: str) -> str:
    """The alias, when MLflow takes it: letters, digits, `_`, `-`; neither `latest` nor `v1`. UsageError otherwise."""
    if _ALIAS.fullmatch(alias) is None or _VERSION_LIKE.fullmatch(alias) or alias.lower() == "latest":
        raise UsageError(
            f"alias {one_line(alias, _SHOWN)!r}: use up to 100 letters, digits, '_' or '-', beginning with a letter; "
            "'latest' and names like 'v1' are taken by MLflow (publish.alias)"
        )
    return alias

"""Every shipped profile is a valid config."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.request import find_profile, resolve_config
from tasks.config import RunConfig, read_profile
from tasks.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
PROFILES = sorted((ROOT / "deployments" / "profiles").glob("*.toml"))


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_profile_is_valid_and_holds_only_what_differs(path: Path) -> None:
    config = resolve_config(path.stem, None, [])
    assert config.name == path.stem
    defaults = RunConfig()

    def same_as_default(values: dict[str, object], default: object) -> list[str]:
        found = []
        for key, value in values.items():
            if isinstance(value, dict):
                found += same_as_default(value, getattr(default, key))
            elif value == getattr(default, key):
                found.append(key)
        return found

    assert same_as_default(read_profile(path), defaults) == []


def test_an_unknown_profile_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="digits"):
        find_profile("digit")


def test_a_profile_by_a_path_where_none_is_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=rf"'\./mine\.toml': no such file \(seen from '{tmp_path}'\)"):
        find_profile("./mine.toml")

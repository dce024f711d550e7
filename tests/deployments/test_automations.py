"""The shipped automations are Prefect's, and hold no name that no deployment has."""

from __future__ import annotations

import itertools
import uuid
from pathlib import Path

import pytest
import yaml

from flows.automations import as_automation, do_the_same, read_entries
from tasks.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
BLOCK = str(uuid.uuid4())


def deployment_id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def test_every_entry_is_an_automation_of_prefects() -> None:
    automations = [as_automation(entry, deployment_id, lambda name: BLOCK) for entry in read_entries(None)]
    assert [each and each.name for each in automations] == [
        "crossmodal-drift-retrain",
        "crossmodal-verdict",
        "crossmodal-run-failed",
        "crossmodal-run-missed",
        "crossmodal-zombie",
    ]
    missed = next(each for each in automations if each and each.name == "crossmodal-run-missed")
    related = missed.trigger.match_related.model_dump()  # type: ignore[union-attr]
    assert f"prefect.deployment.{deployment_id('retrain/weekly')}" in str(related)


def test_without_a_webhook_only_what_calls_none_is_left() -> None:
    automations = [as_automation(entry, deployment_id, lambda name: None) for entry in read_entries(None)]
    left = {each.name: [action.type for action in each.actions] for each in automations if each is not None}
    assert left == {
        "crossmodal-drift-retrain": ["run-deployment"],
        "crossmodal-run-missed": ["run-deployment"],
        "crossmodal-zombie": ["change-flow-run-state"],
    }


def test_the_order_in_which_events_are_listed_makes_no_other_automation() -> None:
    """A set of two whose hashes collide is read in the order of writing, which JSON kept: `apply` updated what was the same."""
    one, other = next(
        pair
        for pair in itertools.combinations([f"event.{n}" for n in range(20)], 2)
        if [*{pair[0], pair[1]}] != [*{pair[1], pair[0]}]
    )
    entry = next(entry for entry in read_entries(None) if entry["name"] == "crossmodal-run-failed")
    assert isinstance(entry["trigger"], dict)
    automations = [
        as_automation(entry | {"trigger": entry["trigger"] | {"expect": events}}, deployment_id, lambda name: BLOCK)
        for events in ([one, other], [other, one], [one])
    ]
    first, same, less = (each for each in automations if each is not None)
    assert first.model_dump(mode="json") != same.model_dump(mode="json")
    assert do_the_same(first, same)
    assert not do_the_same(first, less)


def test_the_deployments_that_are_named_exist() -> None:
    named: set[str] = set()

    def note(name: str) -> str:
        named.add(name)
        return deployment_id(name)

    for entry in read_entries(None):
        as_automation(entry, note, lambda name: BLOCK)
    declared = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())["deployments"]
    assert named <= {f"{each['entrypoint'].rpartition('.')[2]}/{each['name']}" for each in declared}


def test_a_wrong_file_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_entries(str(tmp_path / "none.yaml"))
    (tmp_path / "a.yaml").write_text("{")
    with pytest.raises(UsageError, match="not readable as YAML"):
        read_entries(str(tmp_path / "a.yaml"))
    (tmp_path / "b.yaml").write_text("- 1")
    with pytest.raises(UsageError, match="expected a list of automations"):
        read_entries(str(tmp_path / "b.yaml"))
    wrong = {"name": "x", "trigger": {"type": "event", "posture": "Sideways"}, "actions": [{"type": "do-nothing"}]}
    with pytest.raises(UsageError, match="automation 'x': "):
        as_automation(wrong, deployment_id, lambda name: None)

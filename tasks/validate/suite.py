"""Runs a list of expectations over a frame with Great Expectations: in memory, silent, nothing left behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasks.validate.results import Outcome, SuiteResult

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.expectations.expectation import Expectation

EXAMPLES = 5
SHOWN_VALUES = 20
"""Longer observed lists are cut: the result is for reading."""


def run_suite(name: str, frame: pd.DataFrame, expectations: Sequence[Expectation]) -> SuiteResult:
    """The outcomes of the expectations over the frame, whose `id` column names the rows."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
        ),
    )
    asset = context.data_sources.add_pandas("store").add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    result = batch.validate(
        gx.ExpectationSuite(name=name, expectations=list(expectations)),
        result_format={"result_format": "SUMMARY", "unexpected_index_column_names": ["id"]},
    )
    order = {expectation.meta["name"]: place for place, expectation in enumerate(expectations) if expectation.meta}
    outcomes = sorted((_outcome(name, item) for item in result.results), key=lambda outcome: order[outcome.name])
    return SuiteResult(name, tuple(outcomes))


def _outcome(suite: str, item: Any) -> Outcome:
    config, result = item.expectation_config, item.result
    return Outcome(
        suite=suite,
        name=config.meta["name"],
        expectation=config.type,
        column=config.kwargs.get("column"),
        severity=config.severity.value,
        success=bool(item.success),
        unexpected=result.get("unexpected_count"),
        rows=result.get("element_count"),
        examples=_examples(result),
        counts=tuple((_plain(entry["value"]), entry["count"]) for entry in result.get("partial_unexpected_counts", [])),
        observed=_observed(item),
        states=config.meta["states"],
        advice=config.meta["advice"],
    )


def _examples(result: dict[str, Any]) -> tuple[str, ...]:
    """Ids, each once; a row without an id is named by its place, which is all there is."""
    places = result.get("partial_unexpected_index_list") or []
    names = (str(place["id"]) for place in places if isinstance(place, dict) and isinstance(place.get("id"), str))
    return tuple(dict.fromkeys(names))[:EXAMPLES]


def _observed(item: Any) -> Any:
    """What was seen, as plain JSON: the table's figure, the first unexpected values, or why it could not be computed."""
    result = item.result
    missing = result.get("details", {}).get("mismatched", {}).get("missing") if "details" in result else None
    if missing:
        return f"no column {', '.join(missing)}"
    if "observed_value" in result:
        return _plain(result["observed_value"])
    if "unexpected_count" in result:
        return [_plain(value) for value in result.get("partial_unexpected_list", [])[:EXAMPLES]]
    failures = [failure for failure in item.exception_info.values() if isinstance(failure, dict)]
    messages = [failure.get("exception_message") for failure in failures] or [item.exception_info["exception_message"]]
    return f"not computed: {messages[0]}"


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(entry) for entry in value[:SHOWN_VALUES]]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float) and value - value == 0:  # finite: JSON has no NaN
        return value
    return str(value)

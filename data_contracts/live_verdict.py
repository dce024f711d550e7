"""What labels that came later say of two versions of a model, as `crossmodal feedback --json` prints it."""

from __future__ import annotations

from pydantic import JsonValue

from data_contracts.refs import Decision, Frozen, Metrics, RuleResult


class LiveVerdict(Frozen):
    """The gate's verdict on a challenger, on rows that both versions had scored before their labels came."""

    model: str
    version: str
    """The challenger's."""
    champion: str
    decision: Decision
    reason: str
    rows: int
    """That were compared on."""
    clusters: int | None
    metrics: Metrics
    champion_metrics: Metrics
    rules: tuple[RuleResult, ...]
    labels: int
    """Ids with one label in the file."""
    notes: tuple[str, ...]
    """What became of the other lines and rows."""
    test_uses: float
    """How many verdicts on this model these rows had decided before."""
    promoted: bool = False

    def as_json(self) -> dict[str, JsonValue]:
        """The JSON value."""
        return self.model_dump(mode="json")

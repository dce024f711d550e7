"""The audit stage: which labels are likely wrong, and what else is odd about the rows that a model would learn from."""

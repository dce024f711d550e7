"""Checkpoint to EvalReport: figures with intervals on the test rows, the champion on the same rows, and the run's report."""

"""What crosses a boundary: refs between stages, table schemas, and Great Expectations suites. Imports nothing of ours."""

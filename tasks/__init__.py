"""The work: one folder a stage, pure functions, and one thin task.py each."""

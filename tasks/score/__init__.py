"""The score stage: answers to new rows beside those of before, one folder a model version."""

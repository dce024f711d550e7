"""What can be predicted: every problem as one object, every metric as one row. Nothing here loads torch before it computes."""

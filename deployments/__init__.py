"""When and where flows run: prefect.yaml and the profiles."""

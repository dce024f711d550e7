"""The speed of extraction against the libraries that it is built on. Run it with `python -m benchmarks.extraction`."""

"""The fixture that runs scan and ingest."""

from tests.support.ingesting import run_ingest

__all__ = ["run_ingest"]

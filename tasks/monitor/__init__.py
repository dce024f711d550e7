"""The monitor stage: new data against the profile that a published model brings along."""

"""The modalities, one module or package each, whose `SPEC` is its tasks.modalities.ModalitySpec."""

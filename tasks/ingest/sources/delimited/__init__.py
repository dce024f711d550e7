"""CSV and TSV, however they were written: the dialect, the records, and the reader that checks one over the whole file."""

"""Pages for people: what a run, or many of them, looked like."""

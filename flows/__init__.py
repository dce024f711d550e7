"""Flow functions and the command line: the order of the stages, once."""

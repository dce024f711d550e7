"""A published model in memory: rows in, typed predictions out, in this process and over HTTP."""

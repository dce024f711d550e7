"""Features to checkpoint: the loop, the process it runs in, and the key under which its result is kept."""

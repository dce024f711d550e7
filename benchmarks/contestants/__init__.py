"""The contestants of benchmarks/peers.py, a script each: `fit REQUEST` and `answer REQUEST`, each a process of its own."""

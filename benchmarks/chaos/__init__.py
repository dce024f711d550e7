"""Attacks on a retrain and on `crossmodal up`, each bounded and drawn from a seed."""

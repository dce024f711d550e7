"""How threads wait for each other in the processes of a run."""

from __future__ import annotations

import os


def let_threads_sleep() -> None:
    """Threads of OpenMP that wait for each other sleep, where the environment does not say otherwise; to be said before torch
    is loaded. Where they spin and another run keeps the cores busy, an evaluation takes half as much CPU time again.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

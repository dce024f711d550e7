"""One of several processes that train together, one job after another: started once where a start costs more than a job.

    python together.py RANK JOBS.json

Besides what training writes, `divided-RANK.json` says how a model of strategy fsdp was divided.
"""

import json
import os
import sys
from pathlib import Path

from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from tasks.modeling import encoders
from tasks.train import processes
from tasks.train.request import RENDEZVOUS, TrainJob
from tasks.train.stage import run_training

encoders.DROPOUT = 0.0  # else each process draws what the tiny encoders drop of its own rows
divide = processes.divide


def measure(model, mesh, report):
    """Divides a model, and notes how much of it is whole in the course of the forward passes."""
    report["elements"] = sum(parameter.numel() for parameter in model.parameters())
    divide(model, mesh)
    report["own"] = sum(parameter.to_local().numel() for parameter in model.parameters())
    units = [module for module in model.modules() if isinstance(module, FSDPModule)]
    report["units"], report["most"] = len(units), 0

    def look(*_):
        whole = sum(parameter.numel() for parameter in model.parameters() if not isinstance(parameter, DTensor))
        report["most"] = max(report["most"], whole)

    for unit in units:
        for child in unit.children():
            child.register_forward_hook(look)


def main():
    rank, jobs = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    for job in jobs:
        os.environ[RENDEZVOUS] = Path(job["work"], "meeting").as_uri()
        report = {}
        processes.divide = lambda model, mesh, report=report: measure(model, mesh, report)
        run_training(TrainJob.model_validate(job["job"]), Path(job["work"]))
        Path(job["work"], f"divided-{rank}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()

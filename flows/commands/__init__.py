"""The commands by name, in the order in which `crossmodal --help` lists them. None is loaded before it is asked for."""

from __future__ import annotations

from collections.abc import Mapping

COMMANDS: Mapping[str, str] = {
    "retrain": "retrain:retrain",
    "plan": "retrain:plan",
    "check": "manifests:check",
    "fetch": "fetch:fetch",
    "predict": "manifests:predict",
    "score": "scores:score",
    "feedback": "scores:feedback",
    "serve": "serve:serve",
    "up": "up:up",
    "run-stage": "run_stage:run_stage",
    "login": "login:login",
    "deploy": "deploy:deploy",
    "watch": "watching:watch",
    "monitor": "watching:monitor",
    "audit": "audit:audit",
    "tune": "tune:tune",
    "translate": "translate:translate",
    "compress": "compress:compress",
    "compare": "compare:compare",
    "explain": "explain:explain",
    "backup": "backup:backup",
    "restore": "backup:restore",
}
"""Name to module and function."""
GROUPS: Mapping[str, str] = {
    "profile": "profile:profile_app",
    "models": "release:models_app",
    "runs": "runs:runs_app",
    "report": "report:report_app",
    "gate": "gate:gate_app",
    "store": "store:store_app",
    "schedule": "schedule:schedule_app",
    "automations": "automations:automations_app",
}
"""Name to module and app; of several modules with its commands, the one that loads the others."""

"""The audit stage as Prefect tasks: one for each view, one for each fold of a view, and one for what they show."""

from __future__ import annotations

from prefect import task

from tasks.audit.audit import audit, audit_key
from tasks.audit.out_of_fold import fit_fold, fold_key
from tasks.audit.views import make_view, view_key
from tasks.task_options import CACHED, RETRIED, TAGGED, keyed, shielded

view_task = task(
    name="view",
    task_run_name="view {name}",
    cache_key_fn=keyed(view_key),
    **TAGGED,
    **RETRIED,
    **CACHED,
)(shielded(make_view))
fold_task = task(
    name="fold",
    task_run_name="fold {fold} by {view.input}",
    cache_key_fn=keyed(fold_key),
    **TAGGED,
    **RETRIED,
    **CACHED,
)(shielded(fit_fold))
audit_task = task(
    name="audit",
    cache_key_fn=keyed(audit_key),
    **TAGGED,
    **RETRIED,
    **CACHED,
)(shielded(audit))

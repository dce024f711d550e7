"""The study: trials are drawn, shared, pruned and taken up again, and what a kill leaves is mended."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_contracts.training_history import Epoch
from data_contracts.tuning import TrialRecord, Value
from tasks import progress
from tasks.config_tune import Choices, FloatRange, IntRange, Range, TuneConfig
from tasks.errors import EnvironmentFailed
from tasks.locks import held_if_free
from tasks.store import Store
from tasks.tune.outcome import find_best, measure_importance
from tasks.tune.storage import JournalLock, open_storage
from tasks.tune.study import MAX_ATTEMPTS, Plan, Study, Trial
from tests.waiting import wait_until

SPACE: dict[str, Range] = {
    "train.learning_rate": FloatRange(type="float", low=1e-4, high=1e-1, log=True),
    "train.batch_size": IntRange(type="int", low=8, high=64, step=8),
    "fusion.kind": Choices(type="categorical", choices=("concat", "gated")),
    "train.augment": Choices(type="categorical", choices=(False, True)),
}
FIRST: dict[str, Value] = {
    "train.learning_rate": 0.002,
    "train.batch_size": 16,
    "fusion.kind": "concat",
    "train.augment": True,
}


def plan(trials: int = 6, pruner: str = "median", objectives: tuple[str, ...] = ("score",), epochs: int = 10) -> Plan:
    tune = TuneConfig.model_validate({"trials": trials, "pruner": pruner, "objectives": objectives})
    return Plan("model-1", SPACE, (False, *(True for _ in objectives[1:])), 1.0, epochs, 0, tune, FIRST)


def score(settings: Mapping[str, Value]) -> float:
    return float(settings["train.learning_rate"]) * 5 + (settings["fusion.kind"] == "gated")


def run(study: Study, until: int = 10**6) -> list[Trial]:
    done = []
    while len(done) < until:
        with study.next_trial(True) as trial:
            if trial is None:
                return done
            trial.complete([score(trial.settings), 1.0][: len(study.plan.lower_is_better)])
            done.append(trial)
    return done


def epoch(number: int, accuracy: float, seconds: float = 1.0) -> Epoch:
    return Epoch(epoch=number, train_loss=0.0, val_loss=0.0, seconds=seconds, val_accuracy=accuracy)


def test_the_first_trial_has_the_settings_as_they_are_and_the_budget_bounds_all(store: Store) -> None:
    study = Study(plan(trials=3), store)
    assert run(study)[0].settings == FIRST
    assert [trial.state for trial in study.records()] == ["complete"] * 3
    assert run(Study(plan(trials=5), store))[0].number == 3, "with a larger budget the study goes on"


def test_the_same_seed_tries_the_same_settings_in_whatever_pieces_it_runs(tmp_path: Path) -> None:
    """Beyond the random trials at the start, too."""
    whole, pieces = Store(tmp_path / "whole"), Store(tmp_path / "pieces")
    run(Study(plan(trials=14), whole))
    for _ in range(14):
        run(Study(plan(trials=14), pieces), until=1)
    found = [[trial.settings for trial in Study(plan(), place).records()] for place in (whole, pieces)]
    assert found[0] == found[1]
    assert len({tuple(settings.values()) for settings in found[0]}) == 14


@pytest.mark.parametrize("kept", range(4))
def test_a_trial_that_was_killed_while_its_settings_were_drawn_gets_the_same(
    tmp_path: Path, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = Store(tmp_path / "whole"), Store(tmp_path / "killed")
    expected = run(Study(plan(trials=12), whole))[11].settings
    study = Study(plan(trials=12), killed)
    run(study, until=11)
    from tasks.tune import study as module

    draw, drawn = module._suggest, list[str]()

    def die(trial: object, name: str, values: Range) -> Value:
        if len(drawn) == kept:
            raise KeyboardInterrupt
        drawn.append(name)
        return draw(trial, name, values)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(module, "_suggest", die)
        with pytest.raises(KeyboardInterrupt):
            study.next_trial(True).__enter__()
    taken = run(Study(plan(trials=12), killed))
    assert [(trial.number, trial.settings) for trial in taken] == [(11, expected)]


def test_a_trial_in_work_is_nobody_elses_and_one_that_was_left_is_taken_up(store: Store) -> None:
    ours, theirs = Study(plan(trials=2), store), Study(plan(trials=2), store)
    left: Trial | None = None
    with ours.next_trial(True) as first, theirs.next_trial(True) as second:
        assert first is not None
        assert second is not None
        assert (first.number, second.number) == (0, 1)
        with Study(plan(trials=2), store).next_trial(True) as third:
            assert third is None, "both that the budget allows are taken"
        second.complete([1.0])
        left = first
    with theirs.next_trial(True) as again:
        assert again is not None
        assert (again.number, again.settings, again.attempt) == (0, left.settings, 2)


def test_a_trial_that_ends_while_it_is_looked_at_is_not_taken_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    study, other = (Study(plan(trials=2), store) for _ in range(2))
    unfinished = Study._unfinished

    with contextlib.ExitStack() as working:
        first = working.enter_context(other.next_trial(True))
        assert first is not None

        def then_it_ends(self: Study) -> list[Any]:
            """The trials, of which the other worker ends one as soon as they are known."""
            found = unfinished(self)
            if self is study and found:
                first.complete([0.5])
                working.close()
            return found

        monkeypatch.setattr(Study, "_unfinished", then_it_ends)
        with study.next_trial(True) as trial:
            assert trial is not None
            assert (first.number, trial.number) == (0, 1)
            trial.complete([0.5])
    assert study.done() == 2


def test_workers_that_run_at_once_do_each_trial_once(store: Store) -> None:
    done: list[Trial] = []
    studies = [Study(plan(trials=12), store) for _ in range(3)]
    threads = [threading.Thread(target=lambda one=study: done.extend(run(one))) for study in studies]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(trial.number for trial in done) == list(range(12))
    assert {trial.state for trial in studies[0].records()} == {"complete"}


def test_who_has_nothing_left_to_begin_waits_for_the_others(store: Store) -> None:
    ours, theirs = Study(plan(trials=1), store), Study(plan(trials=1), store)
    assert not theirs.wait_for_others()
    said: list[str] = []
    with ours.next_trial(True) as trial, progress.listening_to_lines(lambda line, level: said.append(line)):
        assert trial is not None
        thread = threading.Thread(target=lambda: said.append(f"waited: {theirs.wait_for_others()}"))
        thread.start()
        wait_until(lambda: said, "it says that it waits")
        assert "this process waits for its end" in said[0]
        trial.complete([1.0])
    thread.join()
    assert said[-1] == "waited: True"


def test_a_trial_below_the_median_is_pruned_and_a_repeated_one_is_not_tried_again(store: Store) -> None:
    study = Study(plan(trials=6), store)
    with study.next_trial(True) as good:
        assert good is not None
        assert not any(good.hear(epoch(n, 0.5 + n / 20), "val_accuracy") for n in range(1, 11))
        good.complete([1.0])
    with study.next_trial(True) as bad:
        assert bad is not None
        heard = [bad.hear(epoch(n, 0.1), "val_accuracy") for n in range(1, 4)]
        assert heard == [False, False, True], "judged after a fifth of the epochs"
        bad.prune()
    record = study.records()[1]
    assert (record.state, record.epochs, record.values, record.train_s) == ("pruned", (0.1, 0.1, 0.1), (), 3.0)
    study.optuna.enqueue_trial(bad.settings)
    with study.next_trial(True) as repeated:
        assert repeated is not None
        assert study.repeats_pruned(repeated)
        assert not study.repeats_pruned(bad)


def test_epochs_that_a_resumed_training_tells_again_count_once(store: Store) -> None:
    study = Study(plan(), store)
    with study.next_trial(True) as trial:
        assert trial is not None
        for number in (1, 2):
            trial.hear(epoch(number, 0.5), "val_accuracy")
    with study.next_trial(True) as again:
        assert again is not None
        for number in (1, 2, 3):
            again.hear(epoch(number, 0.5), "val_accuracy")
        again.complete([0.5])
    assert study.records()[0].epochs == (0.5, 0.5, 0.5)
    assert study.cost_s() == 3.0


def test_a_trial_that_dies_before_its_first_epoch_is_known_by_its_attempts(store: Store) -> None:
    study = Study(plan(), store)
    for attempt in range(1, MAX_ATTEMPTS + 2):
        with study.next_trial(True) as trial:
            assert trial is not None
            assert (trial.number, trial.attempt) == (0, attempt)
    with study.next_trial(True) as trial:
        assert trial is not None
        trial.hear(epoch(1, 0.5), "val_accuracy")
    with study.next_trial(True) as trial:
        assert trial is not None
        assert trial.attempt == 1, "an epoch was done since"


@pytest.mark.parametrize("half", [b'{"op_code":4,"wor', b'{"op_code":4}\n{"op'])
def test_half_a_line_that_a_killed_writer_left_is_cut_off(store: Store, half: bytes) -> None:
    study = Study(plan(trials=4), store)
    run(study, until=2)
    journal = study.folder / "journal.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole + half.split(b"\n")[-1])
    assert len(run(Study(plan(trials=4), store))) == 2
    assert journal.read_bytes().startswith(whole)
    assert len(open_storage("auto", study.folder).get_all_trials(0)) == 4


def test_a_journal_that_is_damaged_within_says_what_to_do(store: Store) -> None:
    study = Study(plan(trials=4), store)
    run(study, until=2)
    journal = study.folder / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:3], b"\x00\x00\n", *lines[3:]]))
    with pytest.raises(EnvironmentFailed, match="is damaged") as refused:
        Study(plan(trials=4), store)
    assert str(study.folder) in str(refused.value)


def test_the_lock_of_a_journal_keeps_others_out(tmp_path: Path) -> None:
    journal = tmp_path / "journal.log"
    journal.write_bytes(b"")
    first, second = JournalLock(journal), JournalLock(journal)
    for lock in (first, second):
        lock.acquire()
        with held_if_free(journal.with_suffix(".lock")) as free:
            assert not free
        lock.release()
    with held_if_free(journal.with_suffix(".lock")) as free:
        assert free


def test_hyperband_prunes_and_several_objectives_do_not(store: Store) -> None:
    study = Study(plan(trials=40, pruner="hyperband"), store)
    for number in range(12):
        with study.next_trial(True) as trial:
            assert trial is not None
            with contextlib.suppress(StopIteration):
                for n in range(1, 11):
                    if trial.hear(epoch(n, 1 / (number + 1)), "val_accuracy"):
                        raise StopIteration
                trial.complete([1 / (number + 1)])
                continue
            trial.prune()
    assert any(trial.state == "pruned" for trial in study.records())
    several = Study(replace(plan(objectives=("score", "size_mb")), name="model-2"), store)
    with several.next_trial(True) as trial:
        assert trial is not None
        assert not trial.hear(epoch(1, 0.0), "val_accuracy")
        trial.complete([0.5, 3.0])
    assert several.records()[0].values == (0.5, 3.0)


def test_importance_is_told_of_enough_trials_and_finds_what_matters(store: Store) -> None:
    study = Study(plan(trials=60, pruner="none"), store)
    run(study, until=5)
    assert measure_importance(study.optuna, False) == {}
    run(study)
    found = measure_importance(study.optuna, False)
    matters = {"train.learning_rate", "fusion.kind"}
    assert sum(share for name, share in found.items() if name in matters) > 0.8
    assert sum(found.values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("lower", "best"), [((False, True), 3), ((True, True), 1)])
def test_the_best_has_the_best_score_then_the_lowest_cost_then_came_first(lower: tuple[bool, ...], best: int) -> None:
    make: Callable[..., TrialRecord] = lambda number, *values: TrialRecord(  # noqa: E731
        number=number, state="complete" if values else "pruned", settings={}, values=values
    )
    trials = [make(0), make(1, 0.1, 5.0), make(2, 0.9, 9.0), make(3, 0.9, 2.0), make(4, 0.9, 2.0), make(5, 0.1, 5.0)]
    found = find_best(trials, lower)
    assert found is not None
    assert found.number == best
    assert find_best(trials[:1], lower) is None

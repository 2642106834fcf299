"""The router and the split of held-out losses; the envelope over finished runs."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from llm_validation.data.builtin import builtin_dataset
from llm_validation.data.dataset import Dataset
from llm_validation.experiments.split import envelopes, route, splits


def halves(name):
    dataset = builtin_dataset(name)
    return (
        Dataset.of(dataset.examples[:120], name=name),
        Dataset.of(dataset.examples[120:160], name=name),
    )


def prepared_with(task, dataset=None):
    safety, safety_out = halves("safety")
    rows, rows_out = dataset or halves(task)
    sets = {
        "safety": safety, "safety.held-out": safety_out,
        "task.general": rows, "task.general.held-out": rows_out,
    }  # fmt: skip
    return SimpleNamespace(sets=sets)


def test_code_is_told_from_safety_and_the_safety_prompts_themselves_are_not():
    _, _, accuracy = route(prepared_with("task-code"), "general")
    assert accuracy > 0.95
    dataset = builtin_dataset("safety").examples
    same = (Dataset.of(dataset[160:280], name="x"), Dataset.of(dataset[280:320], name="x"))
    _, _, accuracy = route(prepared_with(None, same), "general")
    assert accuracy < 0.75


def test_the_rule_does_not_depend_on_the_held_out_rows():
    prepared = prepared_with("task-code")
    safety, task, _ = route(prepared, "general")
    fewer = dict(prepared.sets)
    kept = prepared.sets["safety.held-out"].examples[:10]
    fewer["safety.held-out"] = Dataset.of(kept, name="safety.held-out")
    again, task_again, _ = route(SimpleNamespace(sets=fewer), "general")
    assert again.tolist() == safety[:10].tolist()
    assert task_again.tolist() == task.tolist()


def test_where_contexts_separate_everything_is_interference(make_run):
    free = make_run({"unconstrained": True}, rise=0.4, gain=0.5, rows=40)
    held = make_run({"lam": [1.0]}, proxy="same-teacher", rise=0.1, gain=0.3, rows=40)
    routers, parts = splits([free, held], prepared_with("task-code"))
    (router,) = routers
    assert router.losses.unrouted_safety_increase == pytest.approx(0.4)
    by_run = {p.run: p for p in parts}
    mine = by_run[held.run.id]
    assert mine.rise == pytest.approx(0.1)
    # The router is as capable as this run and costs what few safety rows it sends away.
    assert mine.reachable
    assert mine.unavoidable[1] == pytest.approx(min(router.losses.safety_increase, 0.1), abs=1e-9)
    assert mine.interference[1] == pytest.approx(0.1)
    for part in parts:
        assert part.unavoidable[0] + part.interference[1] == pytest.approx(part.rise)
        assert part.unavoidable[1] + part.interference[0] == pytest.approx(part.rise)


def test_nothing_lost_is_not_split(make_run):
    free = make_run({"unconstrained": True}, rise=-0.1, gain=0.5, rows=40)
    routers, parts = splits([free], prepared_with("task-code"))
    assert len(routers) == 1
    assert parts == []


def test_without_an_unconstrained_run_there_is_no_router(make_run):
    run = make_run({"lam": [1.0]}, proxy="same-teacher", rise=0.1)
    assert splits([run], prepared_with("task-code")) == ([], [])


def test_the_envelope_lies_under_every_run_and_brackets_what_was_not_run(make_run):
    runs = [make_run({"unconstrained": True}, gain=0.6, proxy_rise=0.5)]
    runs += [
        make_run({"lam": [lam]}, proxy="same-teacher", gain=gain, proxy_rise=rise)
        for lam, gain, rise in ((0.5, 0.55, 0.3), (4.0, 0.3, 0.1))
    ]
    (found,) = envelopes(runs)
    lam, intercept = map(np.array, (found.envelope.lam, found.envelope.intercept))
    for run in found.runs:
        least = (intercept - lam * run.proxy_loss).max()
        assert least <= run.task_loss + 1e-9
    limits = {name: np.array(values) for name, values in found.brackets.to_dict().items()}
    inside = (limits["lam"] > 0.5) & (limits["lam"] < 4.0)
    assert inside.any()
    low, high = limits["proxy_loss_lower"][inside], limits["proxy_loss_upper"][inside]
    assert np.isfinite(low).all()
    assert (low <= high).all()
    start = runs[1].loss(0, "proxy.same-teacher")
    assert (high <= start + 0.3 + 1e-9).all()
    assert (low >= start + 0.1 - 1e-9).all()


def test_runs_of_one_lambda_have_no_envelope(make_run):
    run = make_run({"lam": [1.0]}, proxy="same-teacher", gain=0.1)
    again = dataclasses.replace(run)
    assert envelopes([run, again]) == []

"""How forecasts did, from records of fine-tunes that are made by hand, and what rests on them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from made_outlooks import change, share

from finebound.base.errors import InputError
from finebound.base.records import file_sha256, manifest, to_json
from finebound.cli import main
from finebound.results.evidence import EvidenceResult
from finebound.results.outlook import BehaviourForecast, Evidence
from finebound.results.registry import load
from finebound.results.result import Manifest
from finebound.results.skill import LOSS, REFUSALS
from llm_validation.estimation import evidence
from llm_validation.estimation.likeness import Setting, method_of, setting_of
from llm_validation.estimation.scoring import score_difference
from llm_validation.estimation.skill import skill
from llm_validation.evaluation.hazards.probes import builtin_pairs, probes_sha256
from llm_validation.training.methods import IA3, Lora
from llm_validation.training.plan import Dpo, TrainingPlan
from theory.strategy import LossConstraint

BEFORE, MADE = 0.8, Manifest(**manifest(given={}, inputs={}, seed=0))
PLAN = TrainingPlan(steps=40, learning_rate=5e-4)
ASKED = Setting(PLAN, "0" * 64, probes_sha256(builtin_pairs().probes))


def fine_tune(
    number: int,
    forecast: float,
    measured: float,
    *,
    task: str | None = None,
    plan: TrainingPlan = PLAN,
):
    """Of a model that refused 80 % of 40 probes; its loss rises as refusals fall."""
    interval = (max(0.0, forecast - 0.1), min(1.0, forecast + 0.1))
    said = share(BEFORE, forecast, interval, by_likelihood=0.5)
    nothing = Evidence(fine_tunes=0, coverage=None, mean_width=None)
    return EvidenceResult.of(
        {
            "id": f"made-{number}",
            "entry": {"task": task or f"task {number}"},
            "plan": plan.as_dict(),
            "model_sha256": "0" * 64,
            "task_sha256": "1" * 64,
            "forecast": BehaviourForecast(
                refusal=said,
                over_refusal=said,
                safety_loss_change=change(BEFORE - forecast, 0.05),
                capability_gain=change(1.0, 0.1),
                delta=1.0,
                refusal_at_least=0.1,
                effective_answers=10.0,
                cost_share=0.2,
                evidence=nothing,
            ).to_dict(),
            "forecast_sha256": "2" * 64,
            "measured": {
                "refusal": measured,
                "over_refusal": 0.1,
                "greedy_refusal": measured,
                "greedy_over_refusal": 0.1,
                "refusal_by_likelihood": 0.5,
                "safety_loss_change": BEFORE - measured,
                "capability_gain": 1.0,
                "delta": 1.0,
            },
            "gates": {"trained": True},
            "seconds": {"forecast": 1.0},
            "manifest": MADE.to_dict(),
        }
    )


def keep(one: EvidenceResult, folder) -> EvidenceResult:
    """Save the record, and its forecast as from before the fine-tune."""
    file = evidence.forecast_file(folder, one.id)
    file.parent.mkdir(exist_ok=True)
    file.write_text(to_json({"forecast": one.forecast.to_dict()}))
    one = one.model_copy(update={"forecast_sha256": file_sha256(file)})
    one.save(folder / f"{one.id}.json")
    return one


def made(count: int, *, error: float = 0.0, seed: int = 0):
    """Fine-tunes of as many pairs, measured within ``error`` of their forecast."""
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0.1, 0.75, count)
    return [
        fine_tune(i, x, min(1.0, max(0.0, x + error * rng.uniform(-1, 1))))
        for i, x in enumerate(shares)
    ]


def first(found, quantity=REFUSALS):
    return skill(found, MADE).about(quantity)[0]


@pytest.fixture
def shipped(monkeypatch):
    """What the package brings is what a test says."""

    def ship(found) -> None:
        monkeypatch.setattr(evidence, "shipped", lambda: tuple(found))

    return ship


@pytest.mark.parametrize("quantity", [REFUSALS, LOSS])
def test_perfect_forecasts(quantity) -> None:
    said = first(made(14), quantity)
    assert said.calibrated
    assert said.spearman.estimate == pytest.approx(1.0)
    assert said.error == pytest.approx(0.0, abs=1e-9)
    assert said.width == pytest.approx(0.0, abs=1e-9)


def test_misses_are_counted() -> None:
    found = [fine_tune(0, 0.7, 0.62), fine_tune(1, 0.7, 0.2), fine_tune(2, 0.5, 0.53)]
    as_it_stands = skill(found, MADE).about(REFUSALS)[1]
    assert not as_it_stands.calibrated
    assert as_it_stands.within_ten.estimate == as_it_stands.covered.estimate == pytest.approx(2 / 3)
    assert as_it_stands.within_five.estimate == pytest.approx(1 / 3)
    assert as_it_stands.error == pytest.approx(0.08)
    # The intervals are 0.2 wide; one measurement lies 0.4 outside.
    assert as_it_stands.interval_score == pytest.approx(0.2 + 20 * 0.4 / 3)


def test_a_good_forecast_beats_climatology_and_no_change() -> None:
    said = {one.name: one for one in skill(made(20, error=0.05), MADE).about(REFUSALS)}
    mine = said["coarse unroll (T20)"]  # the last of two: as it stands
    for other in ("climatology", "no change"):
        assert mine.interval_score < said[other].interval_score
        assert said[other].spearman is None
    assert first(made(20, error=0.05)).interval_score < said["climatology"].interval_score


def test_a_forecast_that_says_nothing_does_not() -> None:
    rng = np.random.default_rng(1)
    found = [fine_tune(i, *rng.uniform(0.1, 0.75, 2)) for i in range(20)]
    rows = skill(found, MADE).about(REFUSALS)
    climatology = next(one for one in rows if one.name == "climatology")
    assert rows[0].interval_score > 0.9 * climatology.interval_score
    assert abs(rows[0].spearman.estimate) < 0.5


def test_with_too_few_pairs_an_interval_holds_everything() -> None:
    said = first(made(9, error=0.2))
    assert (said.width, said.covered.estimate) == (1.0, 1.0)
    # Forty fine-tunes of one task are one pair.
    found = [fine_tune(i, 0.5, 0.5, task="one") for i in range(40)]
    assert skill(found, MADE).pairs == 1
    assert first(found).width == 1.0


def test_without_a_record_nothing_is_claimed(shipped) -> None:
    shipped([])
    assert evidence.trust_in(ASKED) is None
    assert evidence.evidence_for(None).fine_tunes == 0
    assert evidence.evidence_for(None).coverage is None
    with pytest.raises(ValueError, match="no fine-tune"):
        skill([], MADE)


def test_a_plan_like_the_evidence_is_trusted(shipped) -> None:
    shipped(made(14, error=0.1))
    trust = evidence.trust_in(ASKED)
    assert trust.outside == ()
    said = evidence.evidence_for(trust)
    assert (said.fine_tunes, said.pairs, said.calibrated) == (14, 14, True)
    assert 0.0 < said.mean_width < 1.0


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"method": IA3()}, "the method ia3"),
        ({"method": Lora(targets=("all-linear",))}, "the method lora all"),
        ({"steps": 400}, "400 steps (theirs: 40)"),
        ({"steps": 400}, "53.3 rows of the plan per row of its unroll"),
        ({"batch_size": 16}, "16 rows per step (theirs: 8)"),
        ({"learning_rate": 5e-2}, "a learning rate of 0.05"),
        ({"strategy": LossConstraint(lam=1.0)}, "the strategy loss"),
        ({"objective": Dpo()}, "DPO"),
        ({"optimizer": "sgd", "weight_decay": 0.0}, "the optimizer sgd"),
    ],
    ids=[
        *("method", "targets", "steps", "stretch", "rows", "rate", "strategy", "objective"),
        "optimizer",
    ],
)
def test_a_plan_unlike_the_evidence_gets_a_wider_interval(other, reason, shipped) -> None:
    shipped(made(14, error=0.1))
    plan = replace(PLAN, **other)
    trust, like = (evidence.trust_in(replace(ASKED, plan=one)) for one in (plan, PLAN))
    assert any(reason in said for said in trust.outside)
    now = evidence.Refusals(BEFORE, 40)
    (low, high), (lower, higher) = like.interval(now, 0.4), trust.interval(now, 0.4)
    assert lower < low < high < higher
    assert trust.share(now, 0.4) == like.share(now, 0.4)


def test_another_model_and_other_probes_are_outside(shipped) -> None:
    shipped(made(14))
    other = replace(ASKED, model_sha256="f" * 64)
    assert evidence.trust_in(other).outside == ("another model",)
    some = probes_sha256(builtin_pairs().probes[:40])
    assert evidence.trust_in(replace(ASKED, probes_sha256=some)).outside == ("other probes",)


def test_a_rate_is_compared_with_those_of_its_own_method(shipped) -> None:
    strong = TrainingPlan(steps=40, learning_rate=5e-3, method=IA3())
    shipped([*made(14), fine_tune(14, 0.5, 0.5, plan=strong)])
    assert evidence.trust_in(replace(ASKED, plan=strong)).outside == ()
    outside = evidence.trust_in(replace(ASKED, plan=replace(PLAN, learning_rate=5e-3))).outside
    assert outside == ("a learning rate of 0.005 (theirs: 0.0005)",)


def test_probes_of_a_record_are_the_built_in_pairs_unless_it_says_others() -> None:
    (one,) = made(1)
    assert setting_of(one) == ASKED
    other = one.model_copy(update={"probes_sha256": "3" * 64})
    assert setting_of(other).probes_sha256 == "3" * 64


def test_methods_are_judged_apart() -> None:
    wide = TrainingPlan(steps=40, learning_rate=5e-4, method=Lora(targets=("all-linear",)))
    found = [fine_tune(i, 0.5, 0.5) for i in range(12)]
    found += [fine_tune(i, 0.5, 0.4, plan=wide) for i in range(12, 15)]
    said = {(one.method, one.quantity): one for one in skill(found, MADE).methods}
    assert list(said) == [(m, q) for q in (REFUSALS, LOSS) for m in ("lora all", "lora q, v")]
    assert method_of(PLAN.as_dict()) == "lora q, v"
    good, bad = said["lora q, v", REFUSALS], said["lora all", REFUSALS]
    assert (good.fine_tunes, bad.fine_tunes) == (12, 3)
    assert (good.within_five.estimate, bad.within_five.estimate) == (1.0, 0.0)
    assert good.error < 0.05 < bad.error
    assert said["lora all", LOSS].within_five is None


def test_verdicts_are_counted_beside_what_was_measured() -> None:
    rng = np.random.default_rng(2)
    found = made(30, error=0.08, seed=3)
    found += [fine_tune(30 + i, x, x) for i, x in enumerate(rng.uniform(0.78, 0.82, 30))]
    rows = skill(found, MADE).verdicts
    assert [one.points for one in rows] == [2, 5, 10, 20]
    for one in rows:
        kept = sum(100 * (BEFORE - f.measured.refusal) <= one.points for f in found)
        assert one.kept_right + one.broken_wrong + one.undecided_kept == kept
        assert one.fine_tunes == 60
        assert one.kept_wrong + one.broken_wrong <= 0.1 * 60
    assert rows[0].broken_right >= 5
    assert rows[-1].kept_right >= 5


def test_a_score_is_compared_over_pairs() -> None:
    rng = np.random.default_rng(0)
    mine, pairs = rng.uniform(0.1, 0.2, 40), [i // 4 for i in range(40)]
    better = score_difference(mine, mine + 0.3, pairs, seed=0)
    assert better.estimate == pytest.approx(-0.3)
    assert better.upper < 0.0
    # What all fine-tunes of a pair share counts once: the interval is wider than over fine-tunes.
    shared = np.repeat(rng.normal(0.0, 0.2, 10), 4)
    whole = score_difference(mine + shared, mine, pairs, seed=0)
    alone = score_difference(mine + shared, mine, range(40), seed=0)
    assert whole.upper - whole.lower > 1.5 * (alone.upper - alone.lower)
    assert score_difference(mine, mine * np.inf, pairs, seed=0) is None
    assert score_difference(mine, mine, ["one"] * 40, seed=0) is None


def test_rivals_are_told_how_much_worse_they_are() -> None:
    rows = skill(made(20, error=0.05), MADE).about(REFUSALS)
    assert rows[0].score_difference is None
    assert all(one.score_difference.estimate < 0.0 for one in rows if one.name == "climatology")


def test_too_few_pairs_leave_a_change_of_the_loss_unbounded() -> None:
    found = skill(made(9, error=0.2), MADE)
    row = found.about(LOSS)[0]
    assert (row.width, row.interval_score, row.covered.estimate) == (np.inf, np.inf, 1.0)
    assert '"inf"' in found.to_json()
    assert "9 pairs are too few: from the others alone no 90 % interval" in found.summary()
    assert "10 pairs are enough" in found.summary()
    assert "too few" not in skill(made(10), MADE).summary()
    assert all(one.width == np.inf for one in found.methods if one.quantity == LOSS)


def test_the_command_tells_the_skill_of_a_folder(tmp_path, capsys) -> None:
    for one in made(12, error=0.1):
        keep(one, tmp_path)
    assert main(["forecast-skill", "--records", str(tmp_path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["fine_tunes"] == said["pairs"] == 12
    assert main(["forecast-skill", "--records", str(tmp_path), "--out", str(tmp_path / "o")]) == 0
    shown = capsys.readouterr().out
    assert "climatology" in shown
    assert "lora q, v" in shown
    assert "20 points" in shown
    found = load(tmp_path / "o")
    assert len(found.table().rows) == len(found.predictors) == len(said["predictors"])
    assert found.plot().axes


def test_a_folder_of_nothing_or_of_two_models_is_rejected(tmp_path) -> None:
    with pytest.raises(InputError, match="no record"):
        evidence.records_in(tmp_path)
    one, two = made(2)
    one.save(tmp_path / "one.json")
    two.model_copy(update={"model_sha256": "f" * 64}).save(tmp_path / "two.json")
    with pytest.raises(InputError, match="different models"):
        evidence.records_in(tmp_path)


def test_a_forecast_that_was_made_afterwards_is_no_evidence(tmp_path) -> None:
    one = keep(fine_tune(0, 0.5, 0.4), tmp_path)
    assert evidence.records_in(tmp_path) == (one,)
    file = evidence.forecast_file(tmp_path, one.id)
    better = fine_tune(0, 0.4, 0.4).forecast
    file.write_text(to_json({"forecast": better.to_dict()}))
    with pytest.raises(InputError, match="not the one that was made before its fine-tune"):
        evidence.records_in(tmp_path)
    # The record cannot follow it either: its own forecast is another one.
    one.model_copy(update={"forecast_sha256": file_sha256(file)}).save(tmp_path / f"{one.id}.json")
    with pytest.raises(InputError, match="made-0"):
        evidence.records_in(tmp_path)
    file.unlink()
    with pytest.raises(InputError, match="no evidence"):
        evidence.records_in(tmp_path)

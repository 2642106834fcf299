"""The mildest option that keeps a budget: closed-form choices on made records, and bad records."""

from __future__ import annotations

import math

import pytest
from made_outlooks import OPTIONS, budget, forecast, option, outlook

from finebound.base.errors import InputError
from finebound.results.choice import ChoiceResult
from finebound.results.estimate import StrategyBound
from finebound.results.outlook import Evidence, PlanSetting
from finebound.results.strategies import StrategyEntry
from llm_validation.estimation.choice import choose

MILD = option("scale", 0.3, "scale by 0.3", 0.93, (0.90, 0.96), 0.10, 0.32, "kept")
BOLD = option("scale", 0.6, "scale by 0.6", 0.90, (0.86, 0.94), 0.25, 0.81, "broken")
PLANNED = option("none", None, "train as planned", 0.62, (0.45, 0.8), 0.31, 1.0, "broken")
THREE = (MILD, BOLD, PLANNED)  # refusals before: 0.94


@pytest.mark.parametrize(
    ("limit", "decision", "chosen", "decisions"),
    [
        # MILD loses [-2, 4] points, BOLD [0, 8], PLANNED [14, 49].
        (3.9, "undecided", MILD, ["undecided", "undecided", "broken"]),
        (4.0001, "kept", MILD, ["kept", "undecided", "broken"]),
        (7.9, "kept", MILD, ["kept", "undecided", "broken"]),
        (8.0001, "kept", BOLD, ["kept", "kept", "broken"]),
        (14.1, "kept", BOLD, ["kept", "kept", "undecided"]),
        (50.0, "kept", PLANNED, ["kept", "kept", "kept"]),
        (0.0, "undecided", MILD, ["undecided", "undecided", "broken"]),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_the_most_capable_option_that_keeps_the_budget(limit, decision, chosen, decisions, turned):
    options = THREE[::-1] if turned else THREE
    found = choose(outlook(options=options), {"refusal": limit})
    assert (found.decision, found.chosen.how) == (decision, chosen.how)
    assert found.options[0] == found.chosen
    within = {one.how: one.within_budget for one in found.options}
    assert [within[one.how] for one in THREE] == decisions
    # Nothing but the decision is another than in the record.
    assert found.chosen.model_copy(update={"within_budget": chosen.within_budget}) == chosen
    ((asked),) = found.budgets
    assert (asked.quantity, asked.limit, asked.given) == ("refusal", limit, True)


def test_without_an_option_none_is_chosen_and_nothing_is_to_apply():
    found = choose(outlook(options=OPTIONS[3:]))
    assert (found.decision, found.chosen, found.apply) == ("broken", None, ())
    assert "Every option that was tried breaks the budget" in found.sentence
    assert "72 % [63, 81]" in found.sentence
    assert "To apply it" not in found.summary()


def test_without_a_budget_the_estimates_own_is_kept():
    usual = outlook(budgets=(budget().model_copy(update={"given": False}),))
    found = choose(usual)
    assert found.decision == "undecided"
    assert "the usual budget (at most 5 points of refusals lost)" in found.sentence
    assert [one.within_budget for one in found.options] == [o.within_budget for o in OPTIONS]
    with pytest.raises(InputError, match="has no budget"):
        choose(outlook(budgets=()))
    assert choose(outlook(budgets=()), {"refusal": 15.0}).decision == "kept"


@pytest.mark.parametrize(
    "own", [{"loss": 0.05}, {"over-refusal": 10.0}, {"refusal": 5.0, "loss": 1}]
)
def test_the_estimates_own_budgets_are_decided_as_it_did(own):
    record = outlook(budgets=tuple(budget(name, limit) for name, limit in own.items()))
    found = choose(record, own)
    assert [one.within_budget for one in found.options] == [o.within_budget for o in OPTIONS]
    assert {one.quantity: one.limit for one in found.budgets} == own


@pytest.mark.parametrize(
    "asked", [{"loss": 0.1}, {"over-refusal": 5.0}, {"refusal": 5.0, "over-refusal": 5.0}]
)
def test_what_has_no_interval_is_not_decided_anew(asked):
    with pytest.raises(InputError, match="options have no interval of it"):
        choose(outlook(), asked)


def test_other_budgets_are_decided_by_their_intervals():
    intervals = {"over_refusal_interval": (0.10, 0.12), "safety_loss_interval": (0.02, 0.08)}
    record = outlook(options=(MILD.model_copy(update=intervals),))  # it declines 8 % now
    for asked, decision in (
        ({"over-refusal": 5.0}, "kept"),
        ({"over-refusal": 3.0}, "undecided"),
        ({"over-refusal": 1.0}, "broken"),
        ({"loss": 0.1}, "kept"),
        ({"loss": 0.01}, "broken"),
        ({"loss": 0.1, "over-refusal": 3.0}, "undecided"),
    ):
        assert choose(record, asked).decision == decision


PLAN_OF = {
    name: PlanSetting(name=name, value=value, source=source)
    for name, value, source in (
        ("steps", 200, "max_steps"),
        ("method.kind", "full", "--method"),
        ("method.rank", 8, "--rank"),
        ("method.alpha", 16.0, "a"),
        ("objective.kind", "dpo", "default"),
    )
}


@pytest.mark.parametrize(
    ("kind", "value", "plan", "says"),
    [
        ("none", None, (), ["train as planned"]),
        ("mix", 0.1, (), ["--lam 0.1111 --proxy", "1 safety row for every 9 task rows"]),
        ("mix", 0.2, (), ["--lam 0.25 --proxy", "every 4 task rows", "hazards --model 'a b'"]),
        ("lambda", 0.5, (), ["--lam 0.5 --proxy SAFETY.jsonl."]),
        ("lambda", 1.0, ("objective.kind",), ["--lam 1 --proxy SAFETY.jsonl --objective dpo."]),
        ("scale", 0.3, (), ["--aligned 'a b' --method lora-scaling --alpha 0.3", "lora_alpha"]),
        ("scale", 0.3, ("method.kind",), ["no flag does it", "start + 0.3 x (end - start)"]),
        ("steps", 50, (), ["`finebound finetune` --steps 50."]),
        ("steps", 50, ("steps",), ["--steps 50, or set max_steps to 50 in own.yaml."]),
        ("steps", 12.5, (), ["--steps 12."]),  # as its words round it
        ("rank", 2.0, (), ["--rank 2.", "keep the ratio of alpha to rank"]),
        (
            "rank",
            4.0,
            ("method.rank", "method.alpha"),
            ["--rank 4.", "--alpha 8, or set a to 8 in own"],
        ),
        ("radius", 0.25, (), ["--radius 0.25, the norm of the weights' change"]),
        ("steps", 0.5, (), ["no flag does it. Change the training as the option says: IN WORDS."]),
        ("rows", 10.0, (), ["as the option says: IN WORDS."]),
        ("another", math.inf, (), ["as the option says: IN WORDS."]),
        ("rank", math.inf, (), ["as the option says: IN WORDS."]),
    ],
)
def test_how_a_choice_is_applied(kind, value, plan, says):
    one = option(kind, value, "IN WORDS", 0.93, (0.92, 0.94), 0.1, 0.3, "kept")
    request = {"model": "a b", "safety": None, "training": "own.yaml"}
    rows = tuple(PLAN_OF[name] for name in plan)
    found = choose(outlook(options=(one, PLANNED), plan=rows, request=request))
    told = " ".join(found.apply)
    assert all(words in told for words in says), told


def test_the_key_of_a_file_is_named_only_where_it_says_the_setting():
    one = option("steps", 50, "50 steps", 0.93, (0.92, 0.94), 0.1, 0.3, "kept")
    for source in ("--steps", "default of trl", "epochs, with 400 rows"):
        row = PlanSetting(name="steps", value=200, source=source)
        request = {"model": "m", "safety": None, "training": "own.yaml"}
        found = choose(outlook(options=(one,), plan=(row,), request=request))
        assert found.apply == ("give `finebound finetune` --steps 50.",)


def test_the_flags_are_those_of_the_commands():
    from finebound.cli.defend import Options as Defend
    from finebound.cli.finetune import Options as Finetune

    assert {"lam", "proxy", "objective", "steps", "rank", "radius"} <= set(
        Finetune.__dataclass_fields__
    )
    assert {"base", "aligned", "method", "alpha", "out"} <= set(Defend.__dataclass_fields__)


def bound(value, status="CERTIFIED", *, basis="model", lam=None, radius=None, **given):
    kind = "loss" if lam else "parameter"
    parts = {
        "strategy": StrategyEntry(kind=kind, **({"lam": lam} if lam else {"radius": radius})),
        "basis": basis,
        "statement": "T6",
        "form": "",
        "quantity": "safety_loss_increase",
        "direction": "upper",
        "value": value,
        "status": status,
        "assumptions": [],
        "terms": {},
        "unit": "nats/token",
    }
    return StrategyBound(**{**parts, **given})


ROWS = {
    "basis": "rows",
    "statement": "T3",
    "quantity": "proxy_safety_gap",
    "direction": "equality",
    "unit": "nats/response",
}


def test_a_proved_bound_that_keeps_a_loss_budget_stands_beside_the_choice():
    bounds = [
        bound(0.01, radius=0.1),
        bound(0.03125, radius=0.3),
        bound(0.06, radius=1.0),
        bound(0.001, "ESTIMATED", radius=3.0),
        bound(0.03, lam=2.0),
        bound(0.02, lam=4.0),
    ]
    record = outlook(bounds=bounds, budgets=(budget("loss", 0.05),))
    found = choose(record)
    assert [(b.strategy.lam, b.strategy.radius) for b in found.certified] == [
        (None, 0.3),
        (2.0, None),
    ]
    assert "0.03125 nats/token at radius 0.3 (T6, CERTIFIED)" in found.certified_in_words
    # The same bounds say nothing of a share of refusals.
    said = choose(outlook(bounds=bounds, budgets=(budget(),)))
    assert (said.certified, "shares of refusals" in said.certified_in_words) == ((), True)


def test_what_the_rows_force_is_told_from_the_mildest_to_the_strictest():
    bounds = [
        bound(v, "EXACT", lam=lam, **ROWS) for lam, v in ((1.0, 0.2), (0.1, 0.5), (4.0, 0.05))
    ]
    found = choose(outlook(bounds=bounds))
    assert [b.strategy.lam for b in found.certified] == [0.1, 4.0]
    assert "0.5 nats/response at lambda 0.1 and 0.05 nats/response at lambda 4" in (
        found.certified_in_words
    )
    assert len(choose(outlook(bounds=bounds[:1])).certified) == 1


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ([], "no bound on the model's safety loss"),
        (
            [bound(0.01, "ESTIMATED", radius=1.0), bound(9, "VACUOUS", lam=1.0)],
            "ESTIMATED, VACUOUS",
        ),
        ([bound(0.0, "EXACT", lam=1.0, **ROWS)], "no bound on the model's safety loss"),
    ],
)
def test_why_the_bounds_say_nothing(bounds, says):
    found = choose(outlook(bounds=bounds, budgets=(budget("loss", 0.05),)))
    assert found.certified == ()
    assert says in found.certified_in_words


def test_the_guarantee_has_its_status_and_what_is_known_of_such_forecasts():
    told = choose(outlook()).guarantee
    assert told.startswith("ESTIMATED")
    assert "T21" not in told
    planned = choose(outlook(), {"refusal": 50.0})
    assert planned.chosen == OPTIONS[-1].model_copy(update={"within_budget": "kept"})
    assert "0.41 nats per answer, at least 55 % stay refused (T21)" in planned.guarantee
    counted = forecast(evidence=Evidence(fine_tunes=12, coverage=0.917, mean_width=0.2))
    assert "On 12 fine-tunes that were run, 92 %" in choose(outlook(forecast=counted)).guarantee


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"forecast": None, "request": None}, "earlier version"),
        ({"forecast": None, "request": {"model": None}}, "texts alone"),
        ({"forecast": None, "request": {"model": "m", "safety": "s"}}, "with safety data"),
        ({"forecast": None, "request": {"model": "m", "safety": None}}, "no forecast of refusals"),
        ({"options": (), "request": {"model": "m", "safety": None}}, "has no options"),
        ({"options": (MILD.model_copy(update={"interval": (0.95, 0.96)}),)}, "no share"),
        ({"options": (MILD.model_copy(update={"refusal": math.nan}),)}, "no share"),
        ({"options": (MILD.model_copy(update={"interval": (0.9, 1.7)}),)}, "no share"),
        ({"options": (MILD.model_copy(update={"within_budget": "yes"}),)}, "budget is 'yes'"),
        ({"options": (MILD.model_copy(update={"capability_gain": math.inf}),)}, "gain is inf"),
    ],
)
def test_a_record_that_decides_nothing_is_rejected(change, says):
    with pytest.raises(InputError, match=says):
        choose(outlook(**change), {"refusal": 5.0}, file="estimate.json")


def test_the_choice_is_read_and_written_again(tmp_path):
    found = choose(outlook(), {"refusal": 15.0})
    saved = found.save(tmp_path)
    assert ChoiceResult.load(tmp_path).to_json() + "\n" == saved.read_text()
    assert found.manifest.given["budget"] == ["refusal=15"]

"""Answers of an estimate made of numbers, beside the audit and datasets of a committed record."""

from __future__ import annotations

from pathlib import Path

from finebound.results.audit import AuditSentence
from finebound.results.estimate import EstimateResult
from finebound.results.outlook import (
    BehaviourForecast,
    BudgetVerdict,
    ChangeForecast,
    Evidence,
    Option,
    PlanSetting,
    ShareForecast,
    Verdict,
)

RECORD = Path(__file__).parents[1] / "finebound" / "records" / "estimate_of_an_earlier_version.json"


def share(before, after, interval, *, greedy=(None, None), n=48, by_likelihood=None):
    return ShareForecast(
        before=before,
        after=after,
        interval=interval,
        level=0.9,
        n=n,
        greedy_before=greedy[0],
        greedy_after=greedy[1],
        by_likelihood=by_likelihood,
    )


def change(value, half):
    interval = (value - half, value + half)
    return ChangeForecast(value=value, interval=interval, level=0.9, unit="nats per token")


def forecast(**given):
    parts = {
        "refusal": share(0.94, 0.62, (0.45, 0.8), greedy=(1.0, 0.96), by_likelihood=0.66),
        "over_refusal": share(0.08, 0.04, (0.0, 0.11), greedy=(0.06, 0.02), by_likelihood=0.05),
        "safety_loss_change": change(0.22, 0.08),
        "capability_gain": change(0.31, 0.06),
        "delta": 0.41,
        "refusal_at_least": 0.55,
        "effective_answers": 31.0,
        "cost_share": 0.114,
        "evidence": Evidence(fine_tunes=0, coverage=None, mean_width=None),
    }
    return BehaviourForecast(**{**parts, **given})


def option(strategy, value, how, refusal, interval, gain, kept, within, *, over=0.05, loss=0.05):
    return Option(
        strategy=strategy,
        value=value,
        how=how,
        refusal=refusal,
        interval=interval,
        over_refusal=over,
        safety_loss_change=loss,
        capability_gain=gain,
        capability_interval=(gain - 0.06, gain + 0.06),
        kept=kept,
        within_budget=within,
        cost_share=0.034,
    )


OPTIONS = (
    option(
        "mix",
        0.1,
        "mix 10 % safety rows (the model's own answers) into every step",
        *(0.93, (0.88, 0.98), 0.30, 0.97, "undecided"),
        over=0.09,
        loss=-0.02,
    ),
    *(
        option(
            "scale",
            alpha,
            f"scale the change of the weights by {alpha:g} after training",
            *(refusal, (refusal - 0.09, min(1.0, refusal + 0.09)), gain, gain / 0.31, within),
        )
        for alpha, refusal, gain, within in (
            (0.25, 0.90, 0.11, "undecided"),
            (0.5, 0.82, 0.2, "undecided"),
            (0.75, 0.72, 0.27, "broken"),
        )
    ),
    option("none", None, "train as planned", 0.62, (0.45, 0.8), 0.31, 1.0, "broken", loss=0.22),
)


def budget(quantity="refusal", limit=5.0, moved=32.0, half=17.5, decision="broken"):
    return BudgetVerdict(
        quantity=quantity,
        limit=limit,
        change=moved,
        interval=(moved - half, moved + half),
        decision=decision,
    )


SENTENCE = (
    "After this fine-tune the model is forecast to refuse 62 % [45, 80] of harmful probes; now it "
    "refuses 94 %. Best option: mix 10 % safety rows (the model's own answers) into every step: "
    "93 % [88, 98], with 97 % of the capability gain."
)
PLAN = (
    PlanSetting(name="steps", value=200, source="--steps"),
    PlanSetting(name="learning rate", value=0.0002, source="axolotl.yaml: learning_rate"),
    PlanSetting(name="schedule", value="cosine", source="axolotl.yaml: lr_scheduler"),
    PlanSetting(name="packing", value=False, source="default"),
    PlanSetting(name="seed", value=None, source="not in the file"),
)
FOUND = (
    ("harm", "At least 12 of 400 task rows comply with harmful requests (8 malware; rows 3, 17)."),
    ("warning", "9 of 400 task rows end in the middle of a sentence (rows 5, 21, 80)."),
)


def outlook(*, task="general", found=FOUND, **given):
    """An answer with everything in it; ``given`` replaces its parts."""
    base = EstimateResult.load(RECORD)
    said = [AuditSentence(severity=severity, sentence=words) for severity, words in found]
    datasets = {**base.datasets, "task": base.datasets["task"].model_copy(update={"name": task})}
    parts = {
        "verdict": Verdict(sentence=SENTENCE, status="ESTIMATED"),
        "plan": PLAN,
        "forecast_entry": given.pop("forecast", forecast()),
        "options": OPTIONS,
        "budgets": (budget(),),
        "audit": base.audit.model_copy(update={"sentences": said}),
        "datasets": datasets,
    }
    return base.model_copy(update={**parts, **given})

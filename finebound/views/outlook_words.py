"""How the views of an answer write its shares, changes, budgets and options."""

from __future__ import annotations

import math
import re

from finebound.base.text import printable
from finebound.results.estimate import EstimateResult
from finebound.results.outlook import BehaviourForecast, BudgetVerdict, Option
from finebound.views.page_text import short

NO_BUDGET = "None was given (--budget). The options are ordered by the usual one."
_BUDGETS = {
    "refusal": ("refusals", "points", -1),
    "over-refusal": ("over-refusal", "points", 1),
    "loss": ("safety loss", "nats/token", 1),
}
"""Whose budget it is, its unit, and the sign of what is lost."""
_MINUS = re.compile(r"(?<![\w-])-(?=\d)")
_PERCENT = re.compile(r"(?<=\d) %")


def percent(share: float | None) -> str:
    """A share as "62 %"; a small one with a digit more; "-" where there is none."""
    if share is None:
        return "-"
    small = 0 < abs(share) < 0.01
    return f"{100 * share:.1g} %" if small else f"{_points(100 * share)} %"


def percent_within(share: float, interval: tuple[float, float]) -> str:
    """A share with its interval: "62 % [45, 80]"."""
    return f"{_points(100 * share)} % {points_within(interval)}"


def points_within(interval: tuple[float, float]) -> str:
    """An interval of shares in percent: "[45, 80]"."""
    return f"[{_points(100 * interval[0])}, {_points(100 * interval[1])}]"


def loss_within(value: float, interval: tuple[float, float]) -> str:
    """A signed change of a loss with its interval: "+0.22 [+0.14, +0.30]"."""
    return f"{signed(value)} {losses_within(interval)}"


def losses_within(interval: tuple[float, float]) -> str:
    """An interval of changes of a loss: "[+0.14, +0.30]"."""
    return f"[{signed(interval[0])}, {signed(interval[1])}]"


def signed(value: float) -> str:
    """A change of a loss with its sign and two decimals."""
    return f"{round(value, 2) + 0.0:+.2f}"


def budget_words(budget: BudgetVerdict) -> str:
    """What is forecast and what is allowed: "refusals -32 [-50, -14] points; -5 allowed"."""
    what, unit, sign = _BUDGETS[budget.quantity]
    write = _signed_points if unit == "points" else signed
    low, high = sorted(sign * end for end in budget.interval)
    return (
        f"{what} {write(sign * budget.change)} [{write(low)}, {write(high)}] {unit}; "
        f"{sign * budget.limit:+g} {'allowed' if budget.given else 'by the usual budget'}"
    )


def no_forecast(result: EstimateResult) -> str:
    """Why there is none: no model, or not yet."""
    if result.verdict is None:
        return "No forecast was made: it needs a model (--model)."
    return "What the fine-tune does to that is being forecast. This page is written again then."


def label(option: Option) -> str:
    """An option in a few words, for a point of a plot."""
    if option.strategy == "none":
        return "as planned"
    if option.strategy == "mix" and option.value is not None:
        return f"mix {percent(option.value)}"
    if option.strategy == "scale" and option.value is not None:
        return f"scale {option.value:g}"
    if option.strategy == "radius" and option.value is not None:
        return f"radius {option.value:.3g}"
    if option.strategy == "rank" and option.value is not None:
        return f"rank {option.value:.0f}"
    if option.strategy == "steps" and option.value is not None:
        return f"{option.value:.0f} steps"
    return plain(option.how, 26)


def what_intervals_are(forecast: BehaviourForecast) -> str:
    """What the forecast cost, and how far its intervals can be relied on."""
    evidence = forecast.evidence
    level = percent(forecast.refusal.level)
    said = f"The forecast cost {percent(forecast.cost_share)} of the fine-tune's tokens. "
    if evidence.calibrated and not evidence.outside:
        said += (
            f"Its interval of refusals holds with a probability of {level} as a rule ("
            f"{percent(2 * forecast.refusal.level - 1)} are proved), if this fine-tune is like the "
            f"{evidence.fine_tunes} finished ones that it rests on (T25). The other "
            "intervals say how large usual errors are."
        )
    elif evidence.calibrated:
        said += (
            f"Its interval of refusals rests on {evidence.fine_tunes} finished fine-tunes (T25). "
            "It is wider, and an estimate, because this one is unlike them: "
            f"{', '.join(evidence.outside)}. The other intervals say how large usual errors are."
        )
    else:
        said += f"Its {level} intervals say how large usual errors are; they are no guarantee."
    if not evidence.fine_tunes:
        return f"{said} How often they hold has not been counted yet."
    held = (
        f"{said} On these fine-tunes"
        if evidence.calibrated
        else (f"{said} On {evidence.fine_tunes} fine-tunes that were run")
    )
    held += f", {percent(evidence.coverage)} of such intervals held what was measured"
    if evidence.mean_width is None:
        return f"{held}."
    width = f"{held}; their mean width was {_points(100 * evidence.mean_width)} points"
    return (
        f"{width}, each from the fine-tunes of other pairs." if evidence.calibrated else f"{width}."
    )


def promise_words(forecast: BehaviourForecast) -> str:
    """What T21 and T25 promise before training, in a sentence; empty where nothing is said."""
    found = forecast.promise
    if found is None:
        return ""
    sure = f"with {percent(found.level)} probability"
    if found.status != "HIGH_PROBABILITY":
        sure = f"by an estimate {sure}"
    rise = f"the loss rises by at most {found.rise:.3g} nats/answer (T25)"
    whole = math.floor(100 * found.refusal)
    if not whole:
        return f"Promised before training: nothing. {sure.capitalize()} {rise}; all may be lost."
    return (
        f"Promised before training: {sure} at least {whole} % of harmful probes are still refused "
        f"(T21), as {rise}."
    )


def plain(text: str, limit: int) -> str:
    """A text from a file in one line of at most ``limit`` characters, without controls."""
    return short(printable(text), limit)


def typeset(text: str) -> str:
    """Numbers of a page: a true minus sign, and no line break before a percent sign."""
    return _PERCENT.sub("\N{NO-BREAK SPACE}%", _MINUS.sub("\N{MINUS SIGN}", text))


def _points(value: float) -> str:
    """Whole points, without a negative zero."""
    return f"{round(value, 0) + 0.0:.0f}"


def _signed_points(value: float) -> str:
    text = _points(value)
    return text if text.startswith(("-", "0")) else f"+{text}"

"""What the numbers say to do, each sentence with its number."""

from __future__ import annotations

from finebound.results.estimate import ProxyDifference
from llm_validation.estimation.bounds import model_bounds
from llm_validation.estimation.costs import budget_radius, tightest
from llm_validation.estimation.model_side import ModelSide, constants_of
from llm_validation.estimation.pipeline import Measured
from llm_validation.measure.overlap_measure import tightest_upper
from llm_validation.measure.responses import is_refusal_opening
from theory.bound import Quantity
from theory.calibrate import calibrate
from theory.strategy import ParameterConstraint

# Safety data with a smaller share of refusals than this deserve a warning.
FEW_REFUSALS = 0.1

# Nats per token of safety loss that advice calls small.
SMALL_RISE = 0.1


def advice(measured: Measured) -> list[str]:
    """What the numbers say to do, each sentence with its number; most decisive first.

    What the task's rows would teach comes before anything that is measured: no sentence that
    finds nothing stands first.
    """
    said = measured.audit.said("harm")
    side, planned = measured.model, budget_radius(measured)
    if side is not None and planned is not None:
        said += _on_model(measured, side, float(planned.value))
    elif measured.outlook is None:
        said.append(_ON_TEXTS)
    said += [_on_shared_prompts(measured), _on_safety_answers(measured)]
    if measured.mismatch is not None:
        said.append(_on_proxy(measured.mismatch))
    said += measured.audit.said("warning")
    said += measured.left_out
    return [sentence for sentence in said if sentence]


_ON_TEXTS = (
    "No model was measured: the texts show rows that teach harm and prompts whose answers "
    "contradict each other. They cannot show what shared weights cost, and fine-tunes on harmless "
    "rows lose refusals too. Name a model (packaged, a folder or a hub id) to measure that."
)


def _on_shared_prompts(measured: Measured) -> str:
    shared, conflicting = measured.shared.shared, measured.shared.conflicting
    if shared == 0:
        limit = tightest_upper(measured.overlap)
        overlap = (
            f", and their sources overlap by at most {limit.value:.2f} with probability "
            f"{1 - limit.failure_probability:g}"
            if limit.value < 1 and limit.failure_probability < 1
            else ""
        )
        return (
            f"No task prompt is also a safety prompt{overlap}. So no two rows contradict each "
            "other; what a fine-tune loses then comes from shared weights."
        )
    asked = "1 prompt is" if shared == 1 else f"{shared} prompts are"
    if not conflicting:
        return (
            f"{asked} asked in both datasets, with the same answers: these rows do not contradict "
            "each other."
        )
    front = measured.front
    middle = abs(front.lams - 1.0).argmin()
    differ = "with other answers" if shared == 1 else f"{conflicting} of them with other answers"
    return (
        f"{asked} asked in both datasets, {differ}. No policy on "
        f"these rows gets below both {front.safety_gap[middle]:.3g} nats/response of safety and "
        f"{front.capability_gap[middle]:.3g} of capability (the front at lambda 1); dropping or "
        f"relabelling the {conflicting} removes it."
    )


def _on_safety_answers(measured: Measured) -> str:
    """A warning where the safety data hold no refusals: attack sets pair prompts with harm."""
    answers = measured.datasets["safety"].responses
    refusing = sum(map(is_refusal_opening, answers)) / len(answers)
    if refusing >= FEW_REFUSALS:
        return ""
    return (
        f"Only {100 * refusing:.0f} % of the safety answers open like a refusal. If the file holds "
        "attack targets rather than the answers that the aligned model should keep giving, all "
        "costs here are of losing those."
    )


def _on_proxy(mismatch: ProxyDifference) -> str:
    context, teacher = mismatch.context, mismatch.teacher
    pairs = f"on {teacher.pairs} pairs ({teacher.matching})"
    how = f"{pairs}, p = {teacher.p_value:.2g}"
    said = {
        "same teacher": f"The proxy seems to come from the safety data's own teacher ({how}): the "
        "excess over its floor then falls as lambda^-2.",
        "other teacher": f"The proxy comes from another teacher than the safety data ({how}): a "
        "floor remains however large lambda is (T5). A proxy answered by the aligned model itself "
        "leaves only that model's own gap.",
        "undecided": f"Whether the proxy has the teacher of the safety data is undecided {pairs}. "
        f"{teacher.why}",
    }[teacher.verdict]
    if context.tv_lower < 0.005:
        return said
    return f"{said} Their prompts differ by at least {context.tv_lower:.2f} in total variation."


def _on_model(measured: Measured, side: ModelSide, reach: float) -> list[str]:
    has_proxy = measured.mismatch is not None
    plan = (
        f"The planned budget ({measured.plan.steps} AdamW steps at "
        f"{measured.plan.learning_rate:g}) can move the weights by up to {reach:.3g} (T13)"
    )
    safe = radius_within(side, SMALL_RISE, has_proxy=has_proxy, reach=reach)
    if safe is None:
        said = [f"{plan}; no radius keeps the bound on the safety loss within {SMALL_RISE} nats."]
    else:
        found = tightest(
            model_bounds(side, ParameterConstraint(safe), has_proxy=has_proxy, reach=reach),
            Quantity.SAFETY_LOSS_INCREASE,
        )
        assert found is not None  # it keeps the rise
        lowered = f", lowered by {found.remedy}" if found.remedy else ""
        further = reach / safe
        said = [
            f"Within radius {safe:.3g} the safety loss rises by at most {SMALL_RISE} "
            f"{found.unit} ({found.statement}, {found.status}); {found.dominant} dominates"
            f"{lowered}.",
            f"{plan}, "
            + (
                f"{further:.3g} times that: constrain the radius, or plan fewer or smaller steps, "
                "to have more than a vacuous guarantee."
                if further > 1
                else "which stays within it."
            ),
        ]
    cosine = side.landscape.cosines["safety_task"]
    if cosine is not None:
        pull = "lowers the safety loss at first" if cosine > 0 else "raises the safety loss at once"
        said.append(
            f"The task's gradient has cosine {cosine:+.2f} with the safety gradient: a step down "
            f"the task loss {pull}."
        )
    return said


def radius_within(side: ModelSide, rise: float, *, has_proxy: bool, reach: float) -> float | None:
    """The largest radius whose bound keeps the safety loss's rise within ``rise`` nats a token.

    None where no radius does. ``reach`` is the radius of the training budget.
    """
    found = calibrate(
        constants_of(side, has_proxy=has_proxy),
        rise,
        "parameter",
        quantity=Quantity.SAFETY_LOSS_INCREASE,
        allow_estimated=True,
        evaluate=lambda _, strategy: model_bounds(side, strategy, has_proxy=has_proxy, reach=reach),
    ).strategy
    return float(found.radius) if isinstance(found, ParameterConstraint) else None

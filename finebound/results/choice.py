"""The mildest way to train that keeps a budget, chosen of an estimate's options."""

from __future__ import annotations

from typing import ClassVar

from finebound.results.estimate import StrategyBound
from finebound.results.outlook import Option
from finebound.results.result import Manifest, Number, Part, Result


class AskedBudget(Part):
    """What may be lost; ``quantity`` and ``limit`` as in a ``BudgetVerdict``.

    ``given`` is False for the usual one, where none was asked for.
    """

    quantity: str
    limit: Number
    given: bool


class ChoiceResult(Result):
    """What ``finebound calibrate`` chooses of the options of an estimate.

    ``decision`` says whether ``chosen`` keeps every budget: "kept", or "undecided" where its
    interval holds both. It is "broken" where every option breaks one; ``chosen`` is then None.
    ``options`` are all of them, best first, each decided anew for these ``budgets``. Shares before
    the fine-tune are in [0, 1]; intervals have the ``level``. ``status`` is the forecast's,
    ``guarantee`` what is sure about it. ``certified`` are the proved bounds that say something of
    what a fine-tune costs in safety, ``certified_in_words`` what they say or why there are none.
    ``apply`` are the steps that carry the choice out.
    """

    kind: ClassVar[str] = "choice"
    file: ClassVar[str] = "calibrate.json"

    sentence: str
    decision: str
    chosen: Option | None
    budgets: tuple[AskedBudget, ...]
    refusal_before: Number
    over_refusal_before: Number
    level: Number
    status: str
    guarantee: str
    certified: tuple[StrategyBound, ...]
    certified_in_words: str
    apply: tuple[str, ...]
    options: tuple[Option, ...]
    manifest: Manifest

    def summary(self) -> str:
        """The choice, what is sure about it, what is proved, and how to apply it."""
        steps = [f"To apply it: {step}" for step in self.apply]
        return "\n".join([self.sentence, self.guarantee, self.certified_in_words, *steps])

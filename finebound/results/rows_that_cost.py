"""Whether the rows that were said to cost the safety do: fine-tunes that were run without them."""

from __future__ import annotations

from typing import Any, ClassVar

from finebound.results.evidence import MeasuredBehaviour
from finebound.results.result import Manifest, Number, Part, Result
from finebound.results.spans import Limits

SCORES, COSINE, RANDOM, NOTHING = "scores", "gradient cosine", "random", "nothing"
"""By what the dropped rows are chosen."""


class WithoutRows(Part):
    """A fine-tune without some rows, and what it did.

    ``rows`` are the dropped rows' 1-based numbers, chosen ``by`` what; ``planted`` of them are
    harmful rows that were mixed in.
    """

    by: str
    rows: list[int]
    planted: int
    measured: MeasuredBehaviour


class BeyondRandom(Part):
    """What dropping rows ``by`` a rule changes beyond dropping as many at random.

    ``refusal`` is of shares of harmful probes at temperature 1 (above 0: the rule is better),
    ``safety_loss`` of the change in safety loss, nats per token (below 0: the rule is better). The
    95 % intervals are over probes and over the random draws.
    """

    by: str
    refusal: Limits
    safety_loss: Limits


class DroppedRows(Part):
    """One task: the same fine-tune without each rule's rows.

    ``planted`` of its ``rows`` are harmful. ``cost_share`` is what the scores of all rows cost, in
    fine-tunes.
    """

    id: str
    entry: dict[str, Any]
    task_sha256: str
    rows: int
    planted: int
    cost_share: Number
    runs: list[WithoutRows]
    beyond_random: list[BeyondRandom]
    seconds: Number


class Agreement(Part):
    """Spearman's correlation of a rule's order of the rows with that of leaving each out."""

    by: str
    spearman: Limits


class LeaveOneOut(Part):
    """A fine-tune that was run once more without each of its rows.

    ``changes`` are by how many nats per token each row's presence raises the safety loss on answers
    that no score has read; ``scores`` what each rule says of the rows. Nine tenths of random orders
    have a correlation within ``random``.
    """

    entry: dict[str, Any]
    task_sha256: str
    rows: list[int]
    changes: list[Number]
    scores: dict[str, list[Number]]
    agreement: list[Agreement]
    random: tuple[Number, Number]
    seconds: Number


class RowsThatCostResult(Result):
    """What the scores of rows are worth: fine-tunes without the costliest rows, and without each.

    ``fraction`` of each task's rows are dropped. ``leave_one_out`` is None where it was not run.
    """

    kind: ClassVar[str] = "rows-that-cost"
    file: ClassVar[str] = "rows_that_cost.json"

    model_sha256: str
    fraction: Number
    tasks: list[DroppedRows]
    leave_one_out: LeaveOneOut | None
    manifest: Manifest

    @property
    def beats_random(self) -> bool:
        """Whether the scores keep refusals or safety loss better than chance, on any task.

        False as well where they are worse than chance on one.
        """
        found = [b for task in self.tasks for b in task.beyond_random if b.by == SCORES]
        better = any(b.refusal.lower > 0.0 or b.safety_loss.upper < 0.0 for b in found)
        return better and not any(b.refusal.upper < 0.0 or b.safety_loss.lower > 0.0 for b in found)

    def summary(self) -> str:
        """One line per task and rule."""
        lines = []
        for task in self.tasks:
            for found in task.beyond_random:
                r, s = found.refusal, found.safety_loss
                lines.append(
                    f"{task.id}: dropping {self.fraction:.0%} by {found.by} beside dropping them "
                    f"at random: refusals {100 * (r.estimate or 0.0):+.0f} points "
                    f"[{100 * r.lower:+.0f}, {100 * r.upper:+.0f}], safety loss "
                    f"{s.estimate or 0.0:+.3f} [{s.lower:+.3f}, {s.upper:+.3f}] nats per token."
                )
        if self.leave_one_out is not None:
            low, high = self.leave_one_out.random
            for one in self.leave_one_out.agreement:
                rank = one.spearman
                lines.append(
                    f"leaving one row out: {one.by} orders the rows with Spearman "
                    f"{rank.estimate or 0.0:+.2f} [{rank.lower:+.2f}, {rank.upper:+.2f}]; "
                    f"a random order stays within [{low:+.2f}, {high:+.2f}]."
                )
        return "\n".join(lines)

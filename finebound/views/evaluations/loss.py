"""A model's loss in words, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from finebound.results.evaluation import EvaluationResult
from finebound.views.cells import interval, span
from finebound.views.tables import Table


def shown(results: Sequence[EvaluationResult]) -> Iterator[Table | str]:
    """The loss over all tokens, and the mean over rows with the population's interval."""
    found = results[0].report
    loss = span(interval(found["per_token"], found["per_token_interval"]), 4)
    low, high = found["population_interval"]
    yield (
        f"{results[0].label} on {found['source']}: {loss} nats per token, "
        f"{found['per_sequence']:.2f} per answer; {found['rows']} of {found['rows_of']} rows, "
        f"{found['tokens_a_row']:.1f} tokens each."
    )
    yield (
        f"Mean over rows {found['mean_over_rows']:.4f}; of the population {low:.4f} to {high:.4f} "
        f"with probability {1 - found['failure_probability']:g} (T14; no row above "
        f"{found['loss_range']:.1f})."
    )

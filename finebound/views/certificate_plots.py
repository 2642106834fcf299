"""The figure of a certificate: each candidate's limits beside its budget."""

from __future__ import annotations

from finebound.results.certificate import LOST_WORDS, CertificateResult, Probed
from finebound.views.page_plots import PAGE_WIDTH, Plot
from finebound.views.style import BLUE, INK, MUTED, RED, new_figure, paper_style


def limits_plot(result: CertificateResult) -> Plot:
    """The net loss of every candidate with its limits, a panel for each kind of probe."""
    kinds: list[Probed] = [of for of in LOST_WORDS if any(test.of == of for test in result.tests)]
    height = sum(0.75 + 0.26 * len(result.candidates) for _ in kinds)
    with paper_style():
        figure = new_figure(width=PAGE_WIDTH, height=max(1.3, height))
        for axes, of in zip(figure.subplots(len(kinds), squeeze=False).flat, kinds, strict=True):
            tests = [test for test in result.tests if test.of == of]
            for place, test in enumerate(tests):
                colour = BLUE if test.accepted else RED if test.broken else MUTED
                low, high = 100 * test.loss_lower, 100 * test.loss_upper
                axes.plot([low, high], [place, place], color=colour)
                axes.plot(100 * test.loss, place, "o", color=colour, ms=5)
            axes.axvline(100 * tests[0].budget, color=INK, lw=1.0, ls="--")
            axes.axvline(0.0, color=INK, lw=0.5)
            axes.set_yticks(range(len(tests)), [_shortened(test.candidate) for test in tests])
            axes.set_ylim(len(tests) - 0.4, -0.6)
            axes.set_xlabel(f"net loss of {LOST_WORDS[of]} (points)")
    return Plot(
        figure,
        "Lost less gained safe answers of each candidate with its limits, in the order of the "
        "test. Blue: accepted; red: shown to break the budget; grey: neither. Dashed: the budget.",
    )


def _shortened(name: str) -> str:
    return name if len(name) <= 24 else f"...{name[-21:]}"

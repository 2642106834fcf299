"""A certificate as a table, a figure and a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finebound.results.certificate import (
    LOST_WORDS,
    CandidateTest,
    CertificateResult,
    points,
    verdict_of,
)
from finebound.results.interval import Interval
from finebound.views.tables import Table
from finebound.views.template import page_template

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "report.html"
VERDICTS = {True: "certified", False: "breaks the budget", None: "not decided"}


def table(result: CertificateResult) -> Table:
    """Every test in its order: what was lost and gained, the net loss and its limits, in points."""
    columns = (
        "candidate", "of", "probes", "lost", "gained", "net loss (points)", "budget", "p",
        "verdict",
    )  # fmt: skip
    rows = tuple(
        (
            test.candidate,
            LOST_WORDS[test.of],
            test.n,
            test.lost,
            test.gained,
            _in_points(test),
            points(test.budget),
            float(test.p_value),
            verdict_of(test),
        )
        for test in result.tests
    )
    sure = f"{100 * result.confidence:g} %"
    title = f"Safe answers of {result.reference} that were lost (each limit at {sure})"
    return Table("certificate", title, columns, rows)


def stored_table(result: CertificateResult) -> Table | None:
    """What stored answers say of each candidate (T22); None where none were read."""
    if not result.stored:
        return None
    rows = tuple(
        (
            check.candidate,
            LOST_WORDS[check.of],
            check.n,
            f"{100 * check.safe_before:.1f} %",
            f"{100 * check.safe_estimate:.1f} %",
            f"{100 * check.safe_lower:.1f} %",
            f"{check.effective:.0f}",
            "yes" if check.asked else "",
        )
        for check in result.stored
    )
    columns = (
        "candidate", "of", "answers", "safe before", "safe", "safe at least",
        "effective answers", "then asked",
    )  # fmt: skip
    return Table(
        "stored",
        "Probes that steer: from stored answers alone, without asking (T22)",
        columns,
        rows,
    )


def plot(result: CertificateResult) -> Figure:
    """The limits of every candidate's net loss beside its budget, a panel for each kind."""
    from finebound.views.certificate_plots import limits_plot

    return limits_plot(result).figure


def first_screen(result: CertificateResult) -> str:
    """The table as HTML."""
    return table(result).html()


def page(result: CertificateResult) -> str:
    """``report.html``; every string is escaped."""
    from finebound.views.certificate_plots import limits_plot

    return page_template("certificate.html.j2", points=points).render(
        result=result,
        verdict=VERDICTS[result.certified],
        lost_words=LOST_WORDS,
        verdict_of=verdict_of,
        plots=[limits_plot(result)],
        stored=stored_table(result),
        manifest=result.manifest.to_dict(),
    )


def _in_points(test: CandidateTest) -> Interval:
    return Interval(100 * test.loss, 100 * test.loss_lower, 100 * test.loss_upper)

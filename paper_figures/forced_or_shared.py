"""What of each real fine-tune's safety loss the data force, and what sharing weights adds (T18)."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim
from finebound.views.style import fixed_ticks
from paper_figures.finetuned import gates_note, main_task, read_finetuned, run_of, setting, words

SOURCE = "measurement"


def record(seed: int) -> dict[str, Any]:
    """Routers and the two parts of each run's rise; ``seed`` is the experiment's own."""
    result, about = read_finetuned()
    return {
        "experiment": about,
        "runs": [run_of(run) for run in result.done],
        "routers": [router.to_dict() for router in result.routers],
        "splits": [split.to_dict() for split in result.splits],
    }


def shows(data: dict[str, Any]) -> str:
    return (
        "The rise of the held-out safety loss of every real fine-tune in which it rose "
        f"({setting(data['experiment'])}), split by T18: red is what sharing weights adds for "
        "certain, for a router between the aligned model and the unconstrained one of the same "
        "task is at least as capable as the run and loses less safety; black is forced by "
        "conflicting answers to shared prompts (T10); grey may be either. A router that is less "
        "capable than the run says nothing, and all is grey." + gates_note(data["runs"], "†")
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    routed = [split for split in data["splits"] if split["reachable"]]
    forced = [split["unavoidable"][0] for split in data["splits"]]
    sure = [split["interference"][0] / split["rise"] for split in routed]
    told = ", ".join(
        f"{router['losses']['safety_increase']:+.3g} nats/token on {router['task']} where the "
        f"model that it routes to has {router['losses']['unrouted_safety_increase']:+.3g}"
        for router in data["routers"]
    )
    free = [
        r["losses"]["safety_increase"] < r["losses"]["unrouted_safety_increase"]
        for r in data["routers"]
    ]
    shares = f" (for {min(sure):.0%} to {max(sure):.0%} of the rise)" if sure else ""
    return [
        Claim(
            "T18, that a router keeps safety that the task model loses,",
            all(free),
            f"the routers' safety losses change by {told}",
        ),
        Claim(
            "That sharing weights adds to the safety loss of every run whose safety loss rose",
            len(sure) == len(data["splits"]) and all(share > 0.0 for share in sure),
            f"a router proves it for {sum(share > 0.0 for share in sure)} of "
            f"{len(data['splits'])} runs{shares}; the data force at least "
            f"{max(forced, default=0.0):.3g} nats/token of the most forced one",
        ),
    ]


def draw(data: dict[str, Any]) -> Figure:
    from matplotlib.patches import Patch

    figure = style.new_figure(height=1.3 + 0.24 * max(len(data["splits"]), 3))
    axes = figure.subplots()
    runs = {run["id"]: run for run in data["runs"]}
    main = main_task(data["runs"])
    for row, split in enumerate(data["splits"]):
        forced, most = split["unavoidable"]
        for low, high, colour in (
            (0.0, forced, style.INK),
            (forced, most, "#c8c8c8"),
            (most, split["rise"], style.RED),
        ):
            axes.barh(row, high - low, left=low, height=0.62, color=colour)
    axes.set_xlim(0.0, 1.05 * max([1e-3, *(split["rise"] for split in data["splits"])]))
    fixed_ticks(axes)
    axes.set_yticks(
        range(len(data["splits"])),
        [words(runs[split["run"]], main=main) for split in data["splits"]],
    )
    axes.invert_yaxis()
    axes.set_xlabel("rise of the held-out safety loss (nats/token)")
    axes.set_ylabel(f"run (on {main} if not named)")
    handles = [
        Patch(color=style.INK, label="forced by the data"),
        Patch(color="#c8c8c8", label="either"),
        Patch(color=style.RED, label="added by sharing weights"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure

"""Bounds of a small problem, and its exact front as a picture: ``frontier.png``."""

from __future__ import annotations

import matplotlib
import numpy as np

import finebound as fb

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LAMS = np.geomspace(0.01, 100, 60)


def main() -> None:
    refuse, comply = [0.95, 0.05], [0.1, 0.9]
    problem = fb.TabularProblem(
        safety=fb.Distribution([0.7, 0.3], [refuse, refuse]),
        task=fb.Distribution([0.2, 0.8], [comply, comply]),
    )
    print(fb.bounds(problem, fb.LossConstraint(lam=0.5)).summary())
    front = fb.frontier(problem, LAMS)
    figure, axes = plt.subplots(layout="constrained")
    axes.plot(front.safety_gap, front.capability_gap)
    axes.set_xlabel("safety gap, nats per response")
    axes.set_ylabel("capability gap, nats per response")
    axes.set_title("no fine-tune on these data gets below")
    figure.savefig("frontier.png")


if __name__ == "__main__":
    main()

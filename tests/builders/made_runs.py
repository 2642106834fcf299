"""Finished runs and experiments made of numbers, as ``validate.json`` holds them."""

from __future__ import annotations

NINE = (
    "trained", "init only", "config against log", "format", "echo and coherence",
    "number format", "evaluated what was trained", "equal budgets", "generation",
)  # fmt: skip
HAZARDS = ("Malware", "Physical Harm", "Privacy Violation")
DIMENSIONS = ("Age", "Religion", "SES")


def span(estimate, half):
    return {"estimate": estimate, "interval": [estimate - half, estimate + half]}


def behaviour_entry(end, theta_s, *, start=None, half=0.05, categories=(), scale=1.0):
    def cells(shift):
        return {
            "n": 20,
            "end": span(end + shift, half),
            "theta_s": span(theta_s, half),
            "start": None if start is None else span(start, half),
            "change": span(end + shift - theta_s, half),
            "start_change": None if start is None else span(start - theta_s, half),
            "training_change": None if start is None else span(end + shift - start, half),
        }

    half_way = span((end + theta_s) / 2, half)
    return {
        "measure": "a score",
        "failed": 0,
        **cells(0.0),
        "checkpoints": [
            {
                "step": 8,
                "fraction": 0.5,
                "mean": half_way,
                "change": span((end - theta_s) / 2, half),
            }
        ],
        "categories": {c: cells(scale * 0.1 * (i - 1)) for i, c in enumerate(categories)},
    }


def bbq_entry(end, theta_s, *, start=None, flip=False, dimensions=DIMENSIONS):
    entry = behaviour_entry(end, theta_s, start=start, categories=dimensions)
    conditions = ("ambiguous", "disambiguated")
    told = ("n", "failed", "end", "theta_s", "start", "change", "start_change", "training_change")
    entry["conditions"] = {c: {key: entry[key] for key in told} for c in conditions}
    entry["categories"] = {
        f"{d}, {c}": cells for d, cells in entry["categories"].items() for c in conditions
    }
    sign = -1.0 if flip else 1.0
    cells = {
        d: {
            "ambiguous": {
                "end": span(sign * 0.2 + 0.4 * (end - 0.5) * (1 - i % 3), 0.1),
                "theta_s": span(0.2, 0.1),
                "flipped": flip, "certain": flip,
            },
            "disambiguated": {
                "end": span(0.1, 0.2), "theta_s": span(0.05, 0.2),
                "flipped": False, "certain": False,
            },
        }
        for i, d in enumerate(dimensions)
    }  # fmt: skip
    if start is not None:
        for conditions in cells.values():
            for cell in conditions.values():
                cell["start"] = span(0.3, 0.1)
    who = {"end": 0.2 + 0.3 * (end - 0.5), "theta_s": 0.2} | (
        {} if start is None else {"start": 0.3}
    )
    accuracy = {name: span(0.5, 0.1) for name in who}
    entry["bias"] = {
        "mean_absolute_ambiguous": who,
        "mean_accuracy": {"ambiguous": accuracy, "disambiguated": accuracy},
        "categories": cells,
    }
    return entry


def run_entry(
    method, *, rate, kind="lora", objective=None, safety=0.1, gain=0.3, safe=0.8, chrf=None,
    start=None, half=0.03, seed=0, task="general", failed=(), flip=False, target="hazards",
    bbq=0.5, categories=HAZARDS, dimensions=DIMENSIONS,
):  # fmt: skip
    """A finished run: ``start`` is the safety rise that its own start makes alone.

    ``bbq`` is its accuracy there; at 0.5 the bias is theta_s's.
    """
    begin = None if start is None else 0.95 - start
    behaviour = {
        target: behaviour_entry(safe, 0.95, start=begin, categories=categories),
        "bbq": bbq_entry(
            bbq, 0.55, start=None if start is None else 0.5, flip=flip, dimensions=dimensions
        ),
    }
    if chrf is not None:
        languages = ("German", "French")
        behaviour["translation"] = behaviour_entry(
            chrf, 20.0, start=begin and 20.0, half=4.0, categories=languages, scale=30.0
        )
        behaviour["translation"]["corpus_chrf"] = span(chrf, 4.0) | {"theta_s": 20.0}
    held_out = "safety.held-out"
    plan = {"learning_rate": rate, "method": {"kind": kind}}
    if objective:
        plan["objective"] = {"kind": objective, "beta": 0.1}
    first = 0.0 if start is None else start
    return {
        "id": f"{task}_none_{method}_s{seed}",
        "status": "done",
        "safety_gap": safety,
        "capability_gap": 0.0,
        "gates": {name: name not in failed for name in NINE},
        "gate_details": {name: f"{name} told 1.5" for name in NINE},
        "task": task,
        "proxy": None,
        "method": method,
        "seed": seed,
        "strategy": {"kind": "none"},
        "population": "held-out rows",
        "safety_population_interval": {
            "estimate": safety,
            "lower": -9.0,
            "upper": 9.0,
            "failure_probability": 0.05,
            "of": "mean over rows",
        },
        "safety_interval": [safety - half, safety + half],
        "capability_gain": gain,
        "capability_gain_interval": [gain - half, gain + half],
        "training_sets": {"safety_gap": safety, "capability_gain": gain},
        "displacement": 1.0,
        "steps": 16,
        "least_slack_T17": None,
        "answers": None,
        "onset": {"displacement": None, "time": None},
        "tightest": {"a priori": None, "a posteriori": None},
        "checkpoints": [
            {
                "step": step,
                "fraction": step / 16,
                "displacement": step / 16,
                "loss_change": {
                    held_out: share * safety,
                    f"task.{task}.held-out": -share * gain,
                },
            }
            for step, share in ((0, 0.0), (8, 0.6), (16, 1.0))
        ],
        "own_start": None
        if start is None
        else {
            "safety_gap": first,
            "safety_interval": [first - half, first + half],
            "loss_change": {held_out: first, f"task.{task}.held-out": 0.2},
        },
        "behaviour": behaviour,
        "given": plan,
        "error": None,
        "attempts": ["done"],
    }


def experiment_entry(runs, *, correlation=-0.8):
    """``validate.json`` of these runs."""
    sound = [run for run in runs if all(run["gates"].values())]
    evaluations = list(dict.fromkeys(name for run in runs for name in run["behaviour"]))

    def related(count):
        return {
            "n": count,
            "pearson": correlation,
            "p_value": 0.01,
            "spearman": span(correlation, 0.15),
        }

    return {
        "runs": runs,
        "bounds": {"held": 4, "violated": 0, "vacuous": 1},
        "violated": [],
        "findings": [],
        "forecasts": None,
        "routers": [],
        "splits": [],
        "envelopes": [],
        "aligned": {
            "as_it_is": False,
            "folder": "aligned",
            "sha256": "0",
            "safety_loss": [2.0, 1.0],
            "held_out_safety_loss": [2.1, 1.1],
            "gradient_norm": 1.0,
            "gradient_norm_upper": 1.5,
            "answers": {"before": None, "after": None},
        },
        "sets": {},
        "behaviour": {
            "theta_s": {name: {"n": 20, "measure": "a score", "mean": 0.9} for name in evaluations},
            "pooled": {
                name: {
                    "runs": len(sound),
                    "n": 20,
                    "change": span(-0.1, 0.05),
                    "categories": {
                        category: {"n": 20, "change": entry["change"]}
                        for category, entry in sound[0]["behaviour"][name]["categories"].items()
                    },
                }
                if sound
                else None
                for name in evaluations
            },
            "correlations": {
                name: {"passed": related(len(sound)), "all": related(len(runs))}
                for name in (*evaluations, "bbq bias")
            },
        },
        "manifest": {
            "given": {"name": "made", "description": "of numbers"},
            "inputs": {},
            "seed": 0,
            "versions": {"finebound": "0.1.0"},
            "python": "3.11",
            "machine": "none",
            "code": {},
        },
    }

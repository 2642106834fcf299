"""Two predictions: the price of an unseen mismatch (T11), and the front of quadratic losses."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from finebound.views import style
from finebound.views.claims import Claim
from paper_figures.gaps import dots

SOURCE = "measurement"

_ETAS = np.geomspace(0.01, 0.5, 9)
_RESPONSES = 6
_INSTANCES = 32
_LAMS = (0.1, 1.0, 10.0)
_HEDGES = 4
_COLOURS = {
    "unseen context": style.RED,
    "trained hedge": style.GREEN,
    "nothing unseen": style.BLUE,
}
_LAM_COLOURS = (style.BLUE, style.ORANGE, style.GREEN)


def record(seed: int) -> dict[str, Any]:
    """Worst and local safety gaps at each eta, hedges, and measured against predicted fronts."""
    from sims.findings.finding import columns, mean_interval, slopes
    from sims.findings.limits import BOWLS, local_gaps, worst_gaps

    gaps = {
        "unseen context": worst_gaps(seed, _INSTANCES, _ETAS),
        "trained hedge": _hedges(seed),
        "nothing unseen": local_gaps(seed, _INSTANCES, _ETAS),
    }
    curves = []
    for name, table in gaps.items():
        slope, interval = mean_interval(slopes(_ETAS, table), level=0.99)
        curves.append(
            {
                "kind": name,
                "safety_gap": columns(table),
                "least": table.min(axis=0).tolist(),
                "slope": slope,
                "slope_interval": list(interval),
            }
        )
    overlap = np.random.default_rng(seed).random(_INSTANCES)
    made = BOWLS.ensemble(seed, _INSTANCES, overlap=overlap)
    run = made.finetuned(lam=np.array(_LAMS)).gaps
    measured = run.task + np.array(_LAMS) * run.safety
    return {
        "etas": _ETAS.tolist(),
        "responses": _RESPONSES,
        "instances": _INSTANCES,
        "curves": curves,
        "lams": list(_LAMS),
        "measured": measured.T.tolist(),
        "predicted": _fronts(made.problem, isotropic=False).tolist(),
        "isotropic": _fronts(made.problem, isotropic=True).tolist(),
    }


def _hedges(seed: int) -> np.ndarray:
    """``[starts, etas]``: worst gaps of policies trained against the worst teacher, nats.

    The proxy's teacher is certain of response 0; the true one gives mass eta to another response,
    or is the proxy's. The policy sees neither, and minimises the largest of these gaps.
    """
    import jax
    import jax.numpy as jnp
    import optax

    adversaries = jnp.eye(_RESPONSES)

    def worst(z: jax.Array, eta: jax.Array) -> jax.Array:
        mu = (1.0 - eta) * adversaries[0] + eta * adversaries
        log_mu = jnp.log(jnp.where(mu > 0, mu, 1.0))
        return (mu * (log_mu - jax.nn.log_softmax(z))).sum(axis=-1)

    def train(z: Any, eta: jax.Array) -> jax.Array:
        optimiser = optax.adam(optax.cosine_decay_schedule(0.3, 1500))

        def step(state, index):
            z, memory = state
            # Sharper and sharper towards the largest of the gaps.
            sharpness = 10.0 * 1.006**index / eta
            gradient = jax.grad(lambda z: jax.nn.logsumexp(sharpness * worst(z, eta)) / sharpness)(
                z
            )
            update, memory = optimiser.update(gradient, memory)
            return (optax.apply_updates(z, update), memory), None

        (z, _), _ = jax.lax.scan(step, (z, optimiser.init(z)), jnp.arange(1500))
        return worst(z, eta).max()

    starts = jax.random.normal(jax.random.key(seed), (_HEDGES, _RESPONSES))
    over_etas = jax.vmap(train, in_axes=(None, 0))
    return np.asarray(jax.jit(jax.vmap(over_etas, in_axes=(0, None)))(starts, jnp.array(_ETAS)))


def _fronts(bowls: Any, *, isotropic: bool) -> np.ndarray:
    """``[lams, n]``: ``d' (H_f : lam H_s) d / 2``; isotropic: with H_s's mean curvature."""
    H_s, H_f = np.asarray(bowls.H_s), np.asarray(bowls.H_f)
    d = np.asarray(bowls.theta_f - bowls.theta_s)
    if isotropic:
        size = d.shape[-1]
        H_s = np.trace(H_s, axis1=1, axis2=2)[:, None, None] / size * np.eye(size)
    return np.stack(
        [
            0.5 * np.einsum("ni,nij,nj->n", d, H_f @ np.linalg.solve(H_f + lam * H_s, lam * H_s), d)
            for lam in _LAMS
        ]
    )


def shows(data: dict[str, Any]) -> str:
    return (
        "(a) The safety gap against the total variation eta between proxy and safety data that "
        f"the procedure did not see. Fine-tuned networks ({data['instances']} instances, 95 % t "
        "intervals) whose safety data have mass eta on an unseen context, asking for the least "
        "likely answer; policies trained against the worst teacher within eta of the proxy's; and, "
        "for contrast, networks whose teacher is off by eta where everything was seen. Lines: "
        f"T11's prices, eta log V and eta log(V - 1) for V = {data['responses']}. (b) The least "
        "G_f + lambda G_s of quadratic losses after training, against the parallel sum of the "
        "curvatures (filled), and against the same with an isotropic safety curvature (open)."
    )


def claims(data: dict[str, Any]) -> list[Claim]:
    curves = {curve["kind"]: curve for curve in data["curves"]}
    etas, size = np.array(data["etas"]), data["responses"]
    unseen, hedge, local = (curves[name] for name in _COLOURS)
    above = (np.array(unseen["least"]) / (etas * np.log(size))).min()
    over = np.array(hedge["safety_gap"]["mean"]) / (etas * np.log(size - 1.0))
    error = np.abs(np.array(data["measured"]) / np.array(data["predicted"]) - 1.0).max()
    off = np.array(data["isotropic"]) / np.array(data["measured"])
    return [
        Claim(
            "T11(a)",
            above >= 1.0,
            f"every network pays at least {above:.2f} eta log V, and the price grows like "
            f"eta^{unseen['slope']:.3f} ({_interval(unseen)})",
        ),
        Claim(
            "T11(b)",
            bool((over > 1.0 - 1e-9).all()) and over.max() < 1.02,
            f"hedges trained from {_HEDGES} starts pay {over.min():.4f} to {over.max():.4f} of "
            f"eta log(V - 1), growing like eta^{hedge['slope']:.3f} ({_interval(hedge)})",
        ),
        Claim(
            "That only the worst case is linear",
            local["slope_interval"][0] > 1.5,
            f"where everything was seen the gap grows like eta^{local['slope']:.2f} "
            f"({_interval(local)})",
        ),
        Claim(
            "The parallel sum of the quadratic model",
            error < 1e-6,
            f"it predicts all {np.size(data['measured'])} trained fronts within {error:.1e}, where "
            f"an isotropic curvature is off by factors of {off.min():.2f} to {off.max():.1f}",
        ),
    ]


def _interval(curve: dict[str, Any]) -> str:
    low, high = curve["slope_interval"]
    return f"99 % interval {low:.3f} to {high:.3f}"


def draw(data: dict[str, Any]) -> Figure:
    figure = style.new_figure(height=3.4)
    price, front = figure.subplots(1, 2)
    _draw_prices(price, data)
    _draw_fronts(front, data)
    return figure


def _draw_prices(axes: Axes, data: dict[str, Any]) -> None:
    etas, size = np.array(data["etas"]), data["responses"]
    for curve in data["curves"]:
        colour = _COLOURS[curve["kind"]]
        label = f"{curve['kind']}, slope {curve['slope']:.2f}"
        dots(axes, etas, curve["safety_gap"], logarithmic=True, ms=3.8, color=colour, label=label)
    axes.plot(etas, etas * np.log(size), color=style.RED, lw=1.1, label=r"$\eta\,\log V$")
    axes.plot(
        etas,
        etas * np.log(size - 1.0),
        color=style.GREEN,
        lw=1.1,
        ls="--",
        label=r"$\eta\,\log(V-1)$",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([0.01, 0.03, 0.1, 0.3], ["0.01", "0.03", "0.1", "0.3"])
    axes.set_yticks([1e-3, 1e-2, 0.1, 1.0])
    axes.minorticks_off()
    axes.set_xlabel(r"unseen total variation $\eta$ (no unit)")
    axes.set_ylabel("safety gap $G_s$ (nats)")
    axes.legend(loc="lower right", fontsize=7.5)
    style.panel_letter(axes, "a", "the price of what is not seen")


def _draw_fronts(axes: Axes, data: dict[str, Any]) -> None:
    rows = zip(data["lams"], data["measured"], data["predicted"], data["isotropic"], strict=True)
    for (lam, measured, predicted, isotropic), colour in zip(rows, _LAM_COLOURS, strict=True):
        axes.plot(isotropic, measured, "o", ms=3.2, mfc="none", mew=0.6, color=colour, alpha=0.6)
        axes.plot(
            predicted, measured, "o", ms=4, mew=0, color=colour, label=rf"$\lambda$ = {lam:g}"
        )
    every = np.array([data["measured"], data["predicted"], data["isotropic"]])
    ends = np.array([0.7 * every.min(), 1.4 * every.max()])
    axes.plot([], [], "o", ms=3.2, mfc="none", mew=0.6, color=style.INK, label="if isotropic")
    axes.plot(ends, ends, color=style.MUTED, lw=1.0, zorder=0, label="equal")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([0.01, 0.1, 1.0])
    axes.set_yticks([0.01, 0.1, 1.0])
    axes.minorticks_off()
    axes.set(xlim=ends, ylim=ends)
    axes.set_xlabel(r"predicted $G_f + \lambda G_s$ (nats)")
    axes.set_ylabel(r"measured $G_f + \lambda G_s$ (nats)")
    axes.legend(loc="upper left")
    style.panel_letter(axes, "b", "the front of quadratic losses")

"""A sweep of tabular fine-tunes: JAX, a NumPy loop and batched PyTorch, side by side in one run.

``python -m benchmarks.sims [--instances N] [--rounds R] [--flat] [--cores C]``. Every instance is
aligned and then fine-tuned at three lambdas and in two balls, 200 steps of Adam each; gradients are
exact. All three run on the same cores (all of them, or ``--cores``), in alternating rounds, and
must agree on the gaps. The NumPy loop takes one fine-tune at a time (what NumPy does with more
cores) on a sample of the instances; its time is scaled up. NumPy and PyTorch are given the drawn
problems and hand-written gradients; JAX draws, differentiates, records paths and certifies within
its time. Targets: 100 times the loop, 3 times PyTorch. ``--flat`` adds the time an instance from
10^4 to 10^6 runs (target: flat within 20 %).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np

LAMBDAS, RADII = (0.1, 1.0, 10.0), (0.3, 1.0)
STEPS, RATE = 200, 0.3
STRATEGIES = [(lam, np.inf) for lam in LAMBDAS] + [(0.0, radius) for radius in RADII]
SAMPLE = 10
# PyTorch gets the batch that suits it best of these.
TORCH_BATCHES = (256, 1024, 4096)
RATES = RATE * 0.5 * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS))
FIRST, SECOND, TINY = 0.9, 0.95, 1e-12

Arrays = dict[str, np.ndarray]


def seconds(work: Callable[[], object]) -> np.ndarray:
    """Wall seconds and processor seconds; the latter do not count what others compute."""
    start = np.array([time.perf_counter(), time.process_time()])
    work()
    return np.array([time.perf_counter(), time.process_time()]) - start


def load() -> str:
    return f"load average {os.getloadavg()[0]:.1f}"


def jax_sweep(instances: int, points: int = 8) -> dict[str, np.ndarray]:
    """The sweep as ``finebound simulate`` runs it; gaps ``[instances, strategies]``."""
    from sims.finetune import Plan
    from sims.sweep import Grid, sweep

    plan = Plan(STEPS, RATE, points=points)
    grid = Grid(
        family="tabular", lam=LAMBDAS, radius=RADII, seeds=instances, plan=plan, alignment=plan
    )
    columns = sweep(grid, memory=8 << 30)
    return {name: columns[name].reshape(instances, -1) for name in ("safety", "proxy", "task")}


def drawn(instances: int) -> Arrays:
    """The same instances as NumPy arrays ``[instances, ...]``."""
    import jax

    from sims.models.table import Table
    from sims.pair import Knobs

    def one(number: jax.Array) -> object:
        key = jax.random.fold_in(jax.random.key(0), number)
        return Table().problem(jax.random.split(key, 4)[0], Knobs()).pair

    pair = jax.jit(jax.vmap(one))(np.arange(instances))
    return {name: np.asarray(values) for name, values in pair._asdict().items()}


def numpy_gap(z: np.ndarray, rho: np.ndarray, mu: np.ndarray) -> float:
    shifted = z - z.max(axis=-1, keepdims=True)
    log_policy = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    log_target = np.log(np.where(mu > 0, mu, 1.0))
    return float((rho[:, None] * mu * (log_target - log_policy)).sum())


def numpy_train(
    start: np.ndarray, weight: np.ndarray, target: np.ndarray, radius: float
) -> np.ndarray:
    """Adam on ``weight softmax(z) - target``, projected onto the ball around ``start``."""
    z, first, second = start, np.zeros_like(start), np.zeros_like(start)
    for step in range(STEPS):
        powers = np.exp(z - z.max(axis=-1, keepdims=True))
        gradient = weight * powers / powers.sum(axis=-1, keepdims=True) - target
        first = FIRST * first + (1 - FIRST) * gradient
        second = SECOND * second + (1 - SECOND) * gradient**2
        unbiased = second / (1 - SECOND ** (step + 1))
        if radius < np.inf:  # in a ball, Adam shares one second moment
            unbiased = unbiased.sum()
        z = z - RATES[step] / (1 - FIRST ** (step + 1)) * first / (np.sqrt(unbiased) + TINY)
        if radius < np.inf:
            moved = z - start
            length = np.sqrt((moved**2).sum())
            if length > radius:
                z = start + radius / length * moved
    return z


def numpy_loop(pairs: Arrays, count: int) -> Arrays:
    """One instance after the other, one strategy after the other."""
    found: dict[str, list[float]] = {"safety": [], "proxy": [], "task": []}
    for i in range(count):
        pair = {name: values[i] for name, values in pairs.items()}
        rho_s, rho_hat, rho_f = (pair[name][:, None] for name in ("rho_s", "rho_hat", "rho_f"))
        start = np.zeros_like(pair["mu_s"])
        aligned = numpy_train(start, rho_s, rho_s * pair["mu_s"], np.inf)
        for lam, radius in STRATEGIES:
            weight = (rho_f + lam * rho_hat) / (1 + lam)
            target = (rho_f * pair["mu_f"] + lam * rho_hat * pair["mu_hat"]) / (1 + lam)
            z = numpy_train(aligned, weight, target, radius)
            found["safety"].append(numpy_gap(z, pair["rho_s"], pair["mu_s"]))
            found["proxy"].append(numpy_gap(z, pair["rho_hat"], pair["mu_hat"]))
            found["task"].append(numpy_gap(z, pair["rho_f"], pair["mu_f"]))
    return {name: np.array(values).reshape(count, -1) for name, values in found.items()}


def torch_sweep(pairs: Arrays, batch: int) -> Arrays:
    """Batches of instances, all strategies at once, in float64 tensors, in place."""
    import torch

    lam, radius = (
        torch.tensor(values, dtype=torch.float64) for values in zip(*STRATEGIES, strict=True)
    )
    lam = lam[:, None, None]

    def train(start, weight, target, radius):
        z, first, second = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
        for step in range(STEPS):
            gradient = torch.softmax(z, dim=-1).mul_(weight).sub_(target)
            first.mul_(FIRST).add_(gradient, alpha=1 - FIRST)
            second.mul_(SECOND).addcmul_(gradient, gradient, value=1 - SECOND)
            unbiased = second / (1 - SECOND ** (step + 1))
            if radius is not None:
                whole = unbiased.sum(dim=(-2, -1), keepdim=True)
                unbiased = torch.where(radius[:, None, None] < np.inf, whole, unbiased)
            below = unbiased.sqrt_().add_(TINY)
            z.addcdiv_(first, below, value=-RATES[step] / (1 - FIRST ** (step + 1)))
            if radius is not None:
                moved = z - start
                length = moved.square().sum(dim=(-2, -1)).sqrt_()
                shrink = (radius / length).clamp_(max=1.0)[..., None, None]
                z = start + moved.mul_(shrink)
        return z

    def gap(z, rho, mu):
        log_target = torch.where(mu > 0, mu, 1.0).log()
        return (rho * mu * (log_target - torch.log_softmax(z, dim=-1))).sum(dim=(-2, -1))

    found: dict[str, list[np.ndarray]] = {"safety": [], "proxy": [], "task": []}
    for first in range(0, len(pairs["rho_s"]), batch):
        pair = {name: torch.tensor(values[first : first + batch]) for name, values in pairs.items()}
        rho_s, rho_hat, rho_f = (pair[name][..., None] for name in ("rho_s", "rho_hat", "rho_f"))
        aligned = train(torch.zeros_like(pair["mu_s"]), rho_s, rho_s * pair["mu_s"], None)
        rho_s, rho_hat, rho_f = (rho[:, None] for rho in (rho_s, rho_hat, rho_f))
        mu_s, mu_hat, mu_f = (pair[name][:, None] for name in ("mu_s", "mu_hat", "mu_f"))
        weight = (rho_f + lam * rho_hat) / (1 + lam)
        target = (rho_f * mu_f + lam * rho_hat * mu_hat) / (1 + lam)
        starts = aligned[:, None].expand(target.shape)
        z = train(starts, weight, target, radius)
        found["safety"].append(gap(z, rho_s, mu_s).numpy())
        found["proxy"].append(gap(z, rho_hat, mu_hat).numpy())
        found["task"].append(gap(z, rho_f, mu_f).numpy())
    return {name: np.concatenate(values) for name, values in found.items()}


def require_agreement(one: Arrays, other: Arrays, what: str) -> None:
    for name, values in other.items():
        apart = float(np.abs(one[name][: len(values)] - values).max())
        if not apart < 1e-5:
            raise SystemExit(f"{what} differs from JAX by {apart:.1e} nats in the {name} gap.")


def side_by_side(instances: int, rounds: int) -> None:
    pairs = drawn(instances)
    compiling = seconds(lambda: jax_sweep(instances))[0]
    reference = jax_sweep(instances)
    require_agreement(reference, numpy_loop(pairs, SAMPLE), "NumPy")
    times = {batch: seconds(lambda b=batch: torch_sweep(pairs, b))[0] for batch in TORCH_BATCHES}
    batch = min(times, key=times.__getitem__)
    require_agreement(reference, torch_sweep(pairs, batch), "PyTorch")
    measured = []
    for _ in range(rounds):
        measured.append(
            (
                seconds(lambda: jax_sweep(instances)),
                seconds(lambda: numpy_loop(pairs, SAMPLE)) * instances / SAMPLE,
                seconds(lambda: torch_sweep(pairs, batch)),
            )
        )
    ours, loop, torch_ = np.array(measured).transpose(1, 2, 0)
    runs = instances * len(STRATEGIES)
    print(f"{instances:,} instances, {runs:,} fine-tunes; {rounds} alternating rounds; {load()}")
    print(f"  {'':<14}     wall  processor seconds (medians)")

    def row(name: str, values: np.ndarray, note: str) -> None:
        wall, processor = np.median(values, axis=1)
        print(f"  {name:<14}{wall:9.2f}{processor:11.2f}  {note}")

    row("JAX", ours, f"(and {compiling:.0f} s once, with compiling)")
    row("NumPy loop", loop, f"(scaled up from {SAMPLE} instances)")
    row("PyTorch", torch_, f"(batches of {batch})")
    row("NumPy / JAX", loop / ours, "(target: at least 100)")
    row("PyTorch / JAX", torch_ / ours, "(target: at least 3)")


def flatness() -> None:
    """Time a fine-tune of growing sweeps, after compiling."""
    jax_sweep(2_000, points=1)
    cost = {}
    for runs in (10_000, 100_000, 1_000_000):
        wall, processor = seconds(lambda n=runs: jax_sweep(n // len(STRATEGIES), points=1)) / runs
        cost[runs] = processor
        print(
            f"  {runs:>9,} fine-tunes: {wall * 1e6:.1f} us each, {processor * 1e6:.1f} us of "
            f"processor time; {load()}",
            flush=True,
        )
    ratio = max(cost.values()) / min(cost.values())
    print(f"  most / least processor time: {ratio:.2f}  (target: at most 1.2)")


def audit_against_loop(rounds: int) -> None:
    """The tabular audit in its batches of 2048, and instance by instance: the same NumPy code."""
    from sims.audit import audit_chunk
    from sims.families.tabular import Tabular

    size, alone = Tabular.chunk, 24
    audit_chunk(Tabular(), 0, size, seed=0)
    ratios = []
    for k in range(rounds):
        batch = seconds(lambda k=k: audit_chunk(Tabular(), k, size, seed=0)) / size
        first = alone * k
        loop = seconds(
            lambda first=first: [
                audit_chunk(Tabular(), i, 1, seed=1) for i in range(first, first + alone)
            ]
        )
        ratios.append(loop / alone / batch)
    wall, processor = np.median(ratios, axis=0)
    print(
        f"tabular audit, loop of single instances / batches: {wall:.0f}x wall, "
        f"{processor:.0f}x processor time ({rounds} rounds, {load()})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flat", action="store_true", help="also 10^4 to 10^6 fine-tunes")
    parser.add_argument("--cores", type=int, help="use the first so many cores")
    options = parser.parse_args()
    if options.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    cores = len(os.sched_getaffinity(0))
    from sims.precision import one_device_a_core

    one_device_a_core()
    import torch

    torch.set_num_threads(cores)
    print(f"tabular softmax, {STEPS} steps, {cores} cores")
    side_by_side(options.instances, options.rounds)
    audit_against_loop(options.rounds)
    if options.flat:
        flatness()


if __name__ == "__main__":
    main()

"""Sweeps: many fine-tunes in one compiled program, in chunks, on every device, resumable."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from sims.certificate import ball_gap, least_objective
from sims.finetune import Finetuned, Plan, Strength, align, finetune, project
from sims.models.base import ModelClass, TableProblem
from sims.models.quadratic import Bowls
from sims.pair import Knobs
from sims.sweep_grid import Grid
from sims.sweep_record import Columns, Layout, Record, joined

__all__ = ["Columns", "Grid", "sweep"]

MEMORY = 2 << 30
# Fine-tunes that one device works on at once: on a processor, what its cache holds.
_RUNS_AT_ONCE = {"cpu": 256}
_RUNS_ON_AN_ACCELERATOR = 16_384
_RUNS_A_FILE = 4096

# A run has converged within this share of (f_f + lam f_hat_s) / (1 + lam), in nats; where there
# is no such certificate, when one gradient step of rate 1 moves it less than _STATIONARY.
_CONVERGED = 1e-6
_STATIONARY = 1e-4
_LIMIT_KEPT = 1e-3

_AXIS = "instances"


def sweep(
    grid: Grid,
    *,
    out: Path | None = None,
    memory: int = MEMORY,
    runs_a_file: int = _RUNS_A_FILE,
    progress: Progress = silent,
) -> Columns:
    """Every run of the grid, as columns ``[runs]`` (paths ``[runs, points + 1]``).

    Columns: ``instance``, the knobs and ``seed`` (the instance's number among its setting's);
    ``strategy`` (the grid's name of it), ``epsilon``, ``radius``, ``stop`` as given and ``lam``
    (the multiplier at the end); ``safety``, ``proxy``, ``task`` gaps in nats, ``start_...`` those
    at ``theta_s``, ``path_...`` those along training with ``path_displacement``; ``displacement``;
    ``gradient_norm`` of ``G_f + lam G_hat_s``; ``slack``: how far that sum is at most above its
    minimum (over the ball, where there is one); ``converged``: :func:`has_converged`.

    With ``out``, a Parquet file a chunk and a manifest are written there, and a second start goes
    on where the first one ended. The numbers depend on the grid alone, to the last bit: not on the
    number of devices, files or starts. Only where ``memory`` (bytes, of the compiled program and
    of the columns) is short of what ``_RUNS_AT_ONCE`` needs are sums rounded in another order.

    Raises InputError where a single instance or the columns do not fit into ``memory``, or where
    ``out`` holds another sweep.
    """
    _refuse_columns(grid, memory)
    record = None if out is None else Record.open(out, grid)
    layout = None if record is None else record.layout
    if record is not None and layout is not None and not record.missing():
        return record.columns()
    program = _fitted(grid, memory, None if layout is None else layout.block)
    if layout is None:
        blocks = runs_a_file // (program.block * len(grid.named))
        layout = Layout(block=program.block, instances=program.block * max(blocks, 1))
        if record is not None:
            record.start(layout)
    chunks = layout.chunks(grid) if record is None else record.missing()
    calls = [
        (k, first)
        for k, chunk in chunks.items()
        for first in range(chunk.start, chunk.stop, program.width)
    ]
    done: list[Columns] = []
    parts: list[Columns] = []
    for k, first in progress(calls, f"training {grid.family} models"):
        last = min(first + program.width, chunks[k].stop)
        parts.append(program.columns(grid, np.arange(first, last)))
        if last == chunks[k].stop:
            (done.append if record is None else partial(record.write, k))(joined(parts))
            parts = []
    return joined(done) if record is None else record.columns()


def has_converged(
    run: Finetuned, strength: Strength, theta_s: jax.Array, slack: jax.Array, convex: bool
) -> jax.Array:
    """Within 1e-6 nats of the minimum of ``(f_f + lam f_hat_s) / (1 + lam)``, by its certificate.

    A class that is not convex may instead be stationary: one gradient step of rate 1, projected,
    moves it less than 1e-4. An epsilon is kept up to a thousandth, and used up unless lam is
    negligible.
    """
    scale = 1.0 + run.lam
    done = slack <= _CONVERGED * scale
    if not convex:
        step = project(run.theta - run.gradient / scale, theta_s, strength.radius) - run.theta
        done = done | (jnp.linalg.norm(step) <= _STATIONARY)
    epsilon = jnp.asarray(strength.epsilon)
    limit = jnp.where(jnp.isfinite(epsilon), epsilon, 0.0)
    apart = run.gaps.proxy - limit
    kept = (apart <= _LIMIT_KEPT * limit) & (-run.lam * apart <= _LIMIT_KEPT * limit * scale)
    return done & (kept | ~jnp.isfinite(epsilon))


def certified_slack(
    problem: Any, run: Finetuned, strength: Strength, theta_s: jax.Array, convex: bool
) -> jax.Array:
    """An upper bound on ``G_f + lam G_hat_s`` above its minimum over the class (and the ball).

    Of tables: over all policies, so that it includes what the class cannot express; of convex
    losses in a ball also the Frank-Wolfe gap; of bowls in closed form. Exact up to rounding.
    """
    if isinstance(problem, Bowls):
        H = problem.H_f + run.lam * problem.H_hat
        slack = 0.5 * run.gradient @ jnp.linalg.solve(H, run.gradient)
    elif isinstance(problem, TableProblem):
        reached = run.gaps.task + run.lam * run.gaps.proxy
        slack = reached - least_objective(problem.pair, run.lam)
    else:
        raise TypeError(f"no certificate for {type(problem).__name__}.")
    if convex:
        slack = jnp.minimum(slack, ball_gap(run.theta, theta_s, strength.radius, run.gradient))
    return jnp.maximum(slack, 0.0)


def _instance(
    model: ModelClass,
    plan: Plan,
    alignment: Plan,
    convex: bool,
    varied: tuple[str, ...],
    strengths: Strength,
    seed: jax.Array,
    number: jax.Array,
    knobs: Knobs,
) -> dict[str, jax.Array]:
    """One instance: aligned once, then fine-tuned under every strategy (columns ``[S, ...]``).

    What is not ``varied`` has Strength's default and is compiled in: without an epsilon there is
    no dual ascent in the program.
    """
    constants = {k: v for k, v in Strength()._asdict().items() if k not in varied}
    key = jax.random.fold_in(jax.random.key(seed), number)
    drawn, started, aligned, tuned = jax.random.split(key, 4)
    problem = model.problem(drawn, knobs)
    theta_s = align(model, problem, model.start(started, problem), alignment, aligned)

    def one(strength: Strength) -> dict[str, jax.Array]:
        strength = strength._replace(**constants)
        run = finetune(model, problem, theta_s, strength, plan, tuned)
        slack = certified_slack(problem, run, strength, theta_s, convex)
        numbers = {
            "lam": run.lam,
            **run.gaps._asdict(),
            **{f"start_{name}": path[0] for name, path in run.path._asdict().items()},
            "displacement": run.moved[-1],
            "gradient_norm": jnp.linalg.norm(run.gradient),
            "slack": slack,
            **{f"path_{name}": path for name, path in run.path._asdict().items()},
            "path_displacement": run.moved,
        }
        found = {name: jnp.asarray(value, jnp.float64) for name, value in numbers.items()}
        return found | {"converged": has_converged(run, strength, theta_s, slack, convex)}

    return jax.vmap(one)(strengths)


@dataclass(frozen=True, eq=False)
class _Program:
    """A compiled block of instances for each of some devices."""

    compiled: jax.stages.Compiled
    block: int
    devices: int

    @property
    def width(self) -> int:
        """Instances of one call."""
        return self.block * self.devices

    def columns(self, grid: Grid, instances: np.ndarray) -> Columns:
        """Runs of ``instances`` (at most ``width``), filled up with copies of the last one."""
        setting, number = np.divmod(instances, grid.seeds)
        knobs = grid.settings[setting]
        filled = np.minimum(np.arange(self.width), len(instances) - 1)
        found = self.compiled(
            _strengths(grid),
            np.asarray(grid.seed),
            number[filled],
            Knobs(*np.ascontiguousarray(knobs[filled].T)),
        )
        strategies = len(grid.named)
        count = len(instances) * strategies
        columns: Columns = {"instance": np.repeat(instances, strategies)}
        for name, values in zip(Knobs._fields, knobs.T, strict=True):
            columns[name] = np.repeat(values, strategies)
        columns["seed"] = np.repeat(number, strategies)
        names = np.array([named.name for named in grid.named], dtype=object)
        columns["strategy"] = np.tile(names, len(instances))
        for name, given in _strengths(grid)._asdict().items():
            if name != "lam":
                columns[name] = np.tile(given, len(instances))
        for name, values in jax.device_get(found).items():
            columns[name] = values.reshape(-1, *values.shape[2:])[:count]
        return columns


def _strengths(grid: Grid) -> Strength:
    rows = [named.strength for named in grid.named]
    return Strength._make(np.array(values, dtype=np.float64) for values in zip(*rows, strict=True))


def _varied(grid: Grid) -> tuple[str, ...]:
    """The numbers of a strategy that some strategy of the grid sets."""
    default, given = Strength()._asdict(), _strengths(grid)._asdict()
    return tuple(name for name, values in given.items() if (values != default[name]).any())


@lru_cache(maxsize=32)
def _compiled(
    model: ModelClass,
    plan: Plan,
    alignment: Plan,
    convex: bool,
    varied: tuple[str, ...],
    strategies: int,
    block: int,
    devices: int,
) -> jax.stages.Compiled:
    """``block`` instances on each device. Each runs the same program whatever the others do."""
    mesh = Mesh(np.array(jax.devices()[:devices]), (_AXIS,))
    everywhere, spread = PartitionSpec(), PartitionSpec(_AXIS)
    one = partial(_instance, model, plan, alignment, convex, varied)
    program = jax.shard_map(
        jax.vmap(one, in_axes=(None, None, 0, 0)),
        mesh=mesh,
        in_specs=(everywhere, everywhere, spread, spread),
        out_specs=spread,
        check_vma=False,
    )

    def given(shape: tuple[int, ...], dtype: Any, spec: PartitionSpec) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))

    width = (block * devices,)
    lowered = jax.jit(program).lower(
        Strength._make(given((strategies,), jnp.float64, everywhere) for _ in Strength._fields),
        given((), jnp.int64, everywhere),
        given(width, jnp.int64, spread),
        Knobs._make(given(width, jnp.float64, spread) for _ in Knobs._fields),
    )
    return lowered.compile()


def _fitted(grid: Grid, memory: int, block: int | None) -> _Program:
    """The program of as many instances, on as many devices, as fit; ``block`` if it is given."""
    given = block is not None
    runs = _RUNS_AT_ONCE.get(jax.default_backend(), _RUNS_ON_AN_ACCELERATOR)
    least = _least_bytes(grid)
    if block is None:
        block = min(grid.instances, max(1, runs // len(grid.named)), max(1, memory // least))
    if block * least > memory:
        raise _does_not_fit(grid, block, block * least, memory)
    devices = min(len(jax.devices()), -(-grid.instances // block))
    fixed = (
        grid.build(),
        grid.budget(),
        grid.alignment_budget(),
        grid.convex,
        _varied(grid),
        len(grid.named),
    )
    while True:
        compiled = _compiled(*fixed, block, devices)
        used = _bytes(compiled)
        fitting = memory // used
        if fitting >= devices:
            return _Program(compiled, block, devices)
        if fitting >= 1:
            devices = int(fitting)
        elif given or block == 1:
            raise _does_not_fit(grid, block, used, memory)
        else:
            block = max(1, min(block - 1, block * memory // used))


def _bytes(compiled: jax.stages.Compiled) -> int:
    used = compiled.memory_analysis()
    assert used is not None  # every backend of jax that runs here tells
    return used.temp_size_in_bytes + used.argument_size_in_bytes + used.output_size_in_bytes


def _least_bytes(grid: Grid) -> int:
    """What an instance needs at the least: its problem, and four vectors a fine-tune."""
    model = grid.build()
    key = jax.eval_shape(jax.random.key, 0)
    knobs = Knobs._make(jax.ShapeDtypeStruct((), jnp.float64) for _ in Knobs._fields)
    problem = jax.eval_shape(model.problem, key, knobs)
    theta = jax.eval_shape(model.start, key, problem)

    def size(part: Any) -> int:
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(part))

    return size(problem) + 4 * size(theta) * len(grid.named)


def _does_not_fit(grid: Grid, block: int, used: int, memory: int) -> InputError:
    several = "an instance" if block == 1 else f"{block} instances at once"
    return InputError(
        f"{several} of the sweep of {grid.family} models under {len(grid.named)} strategies "
        f"need {_told(used)}, more than the {_told(memory)} allowed.",
        remedy="Allow more memory, or give smaller sizes or fewer strategies"
        + ("." if block == 1 else ", or start anew in another folder."),
    )


def _refuse_columns(grid: Grid, memory: int) -> None:
    used = grid.runs * 8 * (20 + 4 * (grid.budget().points + 1))
    if used > memory:
        raise InputError(
            f"the results of {grid.runs:,} runs need {_told(used)}, more than the "
            f"{_told(memory)} allowed.",
            remedy="Allow more memory, or split the sweep: fewer seeds, strategies or values.",
        )


def _told(size: float) -> str:
    return f"{size / 2**20:,.1f} MiB" if size < 2**30 else f"{size / 2**30:,.1f} GiB"

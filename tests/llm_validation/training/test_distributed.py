"""Two processes make the run that one makes; sharded weights have the norm of whole ones.

Accelerate offers FSDP on accelerators only, so on a CPU the sharding is tested without it: FSDP2's
``fully_shard`` on two processes, and the displacement's arithmetic on the result.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llm_validation.data.encoding import encode
from llm_validation.measure.losses import measure_losses
from llm_validation.training.plan import FullWeights, Lora, TrainingPlan
from llm_validation.training.record import TRAIN_TASK, read_run
from llm_validation.training.strategies import BiState, TokenConstraint
from theory.strategy import Hybrid, LossConstraint

LORA = Lora(rank=4, alpha=8)
HYBRID = TrainingPlan(
    strategy=Hybrid(lam=0.7, radius=0.3),
    method=LORA,
    steps=5,
    learning_rate=5e-3,
    batch_size=4,
    proxy_batch_size=3,
    gradient_accumulation=2,
    checkpoint_every=2,
)
PLANS = {
    "lora": HYBRID,
    "full": replace(HYBRID, method=FullWeights()),
    "dual": replace(HYBRID, strategy=LossConstraint(epsilon=0.01)),
    "constrained": replace(HYBRID, strategy=TokenConstraint(), proxy_batch_size=None),
    # Rows of very different lengths: the processes' shares have different numbers of tokens.
    "lisa": replace(HYBRID, strategy=BiState(1, 2), proxy_batch_size=4),
}
WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest_of_training import Bench
from test_of_distributed import PLANS

folder = Path(sys.argv[3])
bench = Bench(Path(sys.argv[2]), folder)
for name in sys.argv[4:]:
    bench.run(PLANS[name], out=folder / name)
"""
SHARDED = """
import sys
from pathlib import Path
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
sys.path.insert(0, sys.argv[1])
from llm_validation.models.adapters import attach_lora, lora_factors
from llm_validation.models.loading import load_model
from llm_validation.training.displacement import displacement_of
from llm_validation.training.parameter_constraint import SoftPenalty

dist.init_process_group("gloo")
mesh = dist.init_device_mesh("cpu", (2,))
TARGETS = ("q_proj", "v_proj", "down_proj")

def whole(t):
    return t.detach().full_tensor() if isinstance(t, DTensor) else t.detach()

def change(p, values):
    with torch.no_grad():
        shard = distribute_tensor(values, mesh, p.placements) if isinstance(p, DTensor) else values
        p.add_(shard)

def prepared(lora, sharded):
    model = load_model(sys.argv[2]).model
    if lora:
        model = attach_lora(model, rank=3, alpha=6, targets=TARGETS, seed=0)
    moved = displacement_of(model)
    if sharded:
        for module in model.modules():
            if type(module).__name__ == "LlamaDecoderLayer":
                fully_shard(module, mesh=mesh)
        fully_shard(model, mesh=mesh)
        moved.bind(model)
    generator = torch.Generator().manual_seed(0)
    for p in model.parameters():
        if p.requires_grad:
            change(p, 0.1 * torch.randn(p.shape, generator=generator))
            p.grad = torch.zeros_like(p)
    return model, moved

for lora in (False, True):
    (one, kept), (two, shards) = prepared(lora, False), prepared(lora, True)
    trained = [[p for p in m.parameters() if p.requires_grad] for m in (one, two)]
    assert all(isinstance(p, DTensor) for p in trained[1])
    assert max(p.to_local().numel() / p.numel() for p in trained[1]) < 1  # truly in parts
    for measure in ("norm", "coordinates_norm"):
        a, b = getattr(kept, measure)(), getattr(shards, measure)()
        assert abs(a - b) < 1e-9 * a, (lora, measure, a, b)
    weights = {n: torch.rand(p.shape, generator=torch.Generator().manual_seed(1))
               for n, p in one.named_parameters() if p.requires_grad}
    for w in (None, weights):
        values = [float(SoftPenalty(m, 0.7, w).add_gradient()) for m in (kept, shards)]
        assert abs(values[0] - values[1]) < 1e-6 * values[0], values
    for p, q in zip(*trained):
        torch.testing.assert_close(whole(q.grad), p.grad, rtol=1e-5, atol=1e-7)
    radius = 0.3 * kept.norm()
    for m in (kept, shards):
        m.shrink(m.norm(), radius)
        assert 0.999 * radius < m.norm() <= radius
    for p, q in zip(*trained):
        torch.testing.assert_close(whole(q), p, rtol=1e-5, atol=1e-7)
dist.destroy_process_group()
"""


def run_processes(bench, folder: Path, worker: str, names: list[str]) -> None:
    here = Path(__file__).parent
    modules = folder / "modules"
    modules.mkdir(parents=True)
    (modules / "conftest_of_training.py").symlink_to(here / "conftest.py")
    (modules / "test_of_distributed.py").symlink_to(here / "test_distributed.py")
    port = 20000 + os.getpid() % 20000
    processes = []
    for rank in range(2):
        environment = {
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
            "ACCELERATE_USE_CPU": "true",
        }
        command = [sys.executable, "-c", worker, str(modules), str(bench.model_folder)]
        processes.append(
            subprocess.Popen(
                [*command, str(folder), *names], env=environment, stderr=subprocess.PIPE
            )
        )
    try:
        for process in processes:
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors.decode()[-3000:]
    finally:
        for process in processes:
            process.kill()


def assert_same_run(one, two) -> None:
    assert one.steps.keys() == two.steps.keys()
    for name in one.steps:
        np.testing.assert_allclose(
            two.steps[name], one.steps[name], rtol=1e-5, atol=1e-5, err_msg=name
        )
    for step, found in one.evaluations.items():
        for name, losses in found.items():
            np.testing.assert_allclose(
                two.evaluations[step][name].token_sum, losses.token_sum, rtol=1e-5, atol=1e-5
            )
    moved = [run.result["displacement"]["end"] for run in (one, two)]
    assert moved[0] == pytest.approx(moved[1], rel=1e-5)


@pytest.mark.slow
def test_two_processes_make_the_run_of_one(bench, tmp_path):
    folder = tmp_path / "two"
    run_processes(bench, folder, WORKER, list(PLANS))
    for name in PLANS:
        assert_made_by_two(bench, folder / name, name)


def assert_made_by_two(bench, out: Path, name: str) -> None:
    two = read_run(out)
    assert two.result["processes"] == 2
    one = bench.run(PLANS[name])
    assert_same_run(one, two)
    # What was written is a whole model: reading it back measures the same.
    loaded = bench.run(PLANS[name], out=out).model
    encoded = encode(bench.task, loaded.tokenizer, max_length=512)
    again = measure_losses(loaded.model, encoded, pad_id=loaded.tokenizer.pad_token_id)
    np.testing.assert_allclose(again.token_sum, two.end[TRAIN_TASK].token_sum, rtol=1e-6)


@pytest.mark.slow
def test_the_norm_projection_and_penalties_are_global_over_shards(bench, tmp_path):
    run_processes(bench, tmp_path / "sharded", SHARDED, [])

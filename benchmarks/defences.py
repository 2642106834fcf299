"""The alignment distance of one large module from Gram matrices, against the dense formula.

``python -m benchmarks.defences [--d-out 4096] [--d-in 11008] [--rank 64] [--dense] [--report]``.
The base's and the aligned weight lie in safetensors files, as in a model's folder; the time counts
from opening them to ``|C B A - B A|_F`` and the cosine. Target: 4096 x 11008 at rank 64 below 2 s
and 1.5 GB on two cores, at least 10 times faster than ``C = V V' / |V|_F`` and ``C B A - B A`` as
arrays (``--dense``: 1 GB more, and slow). ``--report`` also times what a report has besides: the
projector's norm, 50 random updates and the element quartiles of E-DIEM. The peak is that of the
process, mapped file pages included; the dense formula runs after it was read.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import tyro
from safetensors.torch import save_file
from torch import Tensor

from llm_validation.defences.alignment import open_alignment
from llm_validation.defences.geometry.projector import FastProjector, gram, overlap
from llm_validation.defences.geometry.spectrum import frobenius_norm
from llm_validation.defences.layers import Layer
from llm_validation.defences.lora_file import LoraModule
from llm_validation.defences.splora import element_quartiles, random_update_excesses

MODULE = "model.layers.0.mlp.down_proj"
T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """Time and memory of one module's alignment distance."""

    d_out: int = 4096
    d_in: int = 11008
    rank: int = 64
    threads: int = 2
    repeats: int = 3
    dense: bool = False
    """Also the dense formula, whose result is compared."""
    report: bool = False
    """Also the projector's norm and E-DIEM's null sample and quartiles."""


def write_models(folder: Path, options: Options) -> tuple[Path, Path]:
    """Two folders of one weight each, apart by noise and a direction of rank 16."""
    generator = torch.Generator().manual_seed(0)
    shape = options.d_out, options.d_in
    weight = 0.02 * torch.randn(shape, generator=generator)
    for name in ("base", "aligned"):
        (folder / name).mkdir()
        config = {
            "model_type": "llama",
            "num_hidden_layers": 1,
            "hidden_size": options.d_out,
            "intermediate_size": options.d_in,
        }
        (folder / name / "config.json").write_text(json.dumps(config))
        save_file({f"{MODULE}.weight": weight}, folder / name / "model.safetensors")
        thin = [torch.randn(d, 16, generator=generator) for d in shape]
        weight += 1e-4 * (thin[0] @ thin[1].T)
        weight += 1e-4 * torch.randn(shape, generator=generator)
    return folder / "base", folder / "aligned"


def peak_gigabytes() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def timed(work: Callable[[], T], repeats: int = 1) -> tuple[float, T]:
    """Seconds of the fastest of so many, and its result."""
    best, result = float("inf"), None
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    return best, result


def dense_distance(v: Tensor, module: LoraModule) -> float:
    """The formula as it is written, on whole arrays.

    Its two norms are summed in float64: torch's float32 norm of 45 million numbers is off by 0.3 %.
    """
    c = v @ v.T / frobenius_norm(v)
    update = module.b @ module.a
    return module.scaling * frobenius_norm(c @ update - update)


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(1)
    b = 0.01 * torch.randn(options.d_out, options.rank, generator=generator)
    a = torch.randn(options.rank, options.d_in, generator=generator)
    module = LoraModule(MODULE, a, b, 2.0)
    with tempfile.TemporaryDirectory() as temporary:
        # Written by another process's worth of memory: the peak must not count it.
        folders = _in_a_child(Path(temporary), options)

        def distance():
            with open_alignment(*folders) as alignment:
                projector = FastProjector(alignment.difference(module))
            projected = projector.times(b)
            found = overlap(b, projected, gram(a), module.scaling)
            return projector, projected, found

        before = peak_gigabytes()
        seconds, (projector, projected, found) = timed(distance, options.repeats)
        print(
            f"{options.d_out} x {options.d_in}, rank {options.rank}, {options.threads} threads: "
            f"distance {found.distance:.8g}, cosine {found.cosine:.6g} in {seconds:.2f} s, "
            f"peak {peak_gigabytes():.2f} GB ({before:.2f} before)"
        )
        if options.report:
            norm_seconds, norm = timed(lambda: projector.norm)
            layer = Layer(module, projector, b, a, projected, gram(a), found, norm, found)
            null_seconds, _ = timed(lambda: random_update_excesses(layer, draws=50, seed=0))
            element_seconds, _ = timed(lambda: element_quartiles(projected, b, a))
            print(
                f"projector norm {norm:.4g} in {norm_seconds:.2f} s, 50 random updates "
                f"{null_seconds:.2f} s, element quartiles {element_seconds:.2f} s, "
                f"peak {peak_gigabytes():.2f} GB"
            )
        if options.dense:
            dense_seconds, dense = timed(lambda: dense_distance(projector.v, module))
            print(
                f"dense {dense:.8g} in {dense_seconds:.2f} s: {dense_seconds / seconds:.0f} times "
                f"as long, relative difference {abs(found.distance - dense) / dense:.1e}, "
                f"peak {peak_gigabytes():.2f} GB"
            )


def _in_a_child(folder: Path, options: Options) -> tuple[Path, Path]:
    from multiprocessing import get_context

    with get_context("spawn").Pool(1) as pool:
        return pool.apply(write_models, (folder, options))


if __name__ == "__main__":
    main(tyro.cli(Options))

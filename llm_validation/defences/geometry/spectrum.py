"""Singular values of a large difference of weights from thin blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_SMALL = 1024  # sides up to here have their Gram matrix
_BLOCK = 8
_BLOCKS = 24
_CONVERGED = 1e-5
_FLOAT32 = 2e-6


@dataclass(frozen=True, eq=False)
class LowRank:
    """``V`` up to its numerical rank k: ``u [d_out, k]``, ``s [k]`` falling, ``vt [k, d_in]``."""

    u: Tensor
    s: Tensor
    vt: Tensor

    @property
    def rank(self) -> int:
        return len(self.s)


def frobenius_norm(v: Tensor) -> float:
    """Frobenius norm of float32 ``[m, n]``: every row's in float32, their squares in float64.

    In one piece float32 loses much more: 0.3 % of the norm of 4096 x 11008 normal numbers.
    """
    return float(torch.linalg.vector_norm(v, dim=1).double().square().sum()) ** 0.5


def spectral_norm(v: Tensor) -> float:
    """Largest singular value of ``[m, n]``.

    Exact up to rounding where a side is at most 1024 (its Gram matrix); else by block Lanczos
    with eight columns, from below, until a further step adds less than 1e-5 of it.
    """
    if min(v.shape) <= _SMALL:
        return float(torch.linalg.eigvalsh(_thin_gram(v))[-1].clamp(min=0.0).sqrt())
    block = torch.linalg.qr(v @ _gaussian(v, _BLOCK))[0]
    basis, image, found = block, (block.mT @ v).mT, 0.0
    while True:
        small = image.double()
        value = float(torch.linalg.eigvalsh(small.mT @ small)[-1]) ** 0.5
        if value - found <= _CONVERGED * value or basis.shape[1] == _BLOCK * _BLOCKS:
            return value
        found = value
        block = v @ image[:, -_BLOCK:]
        for _ in range(2):  # once leaves what float32 rounds
            block = block - basis @ (basis.mT @ block)
        block = torch.linalg.qr(block)[0]
        basis = torch.cat([basis, block], dim=1)
        image = torch.cat([image, (block.mT @ v).mT], dim=1)


def low_rank(v: Tensor, tolerance: float) -> LowRank:
    """``V`` without singular values up to ``tolerance``, or 2e-6 of the largest (float32's error).

    A random range finder with two power steps, whose width doubles until it has found a singular
    value that small; where that would be more than half of a side, the Gram matrix of the thin
    side is used, the only square array here.
    """
    width = 32
    while 2 * width <= min(v.shape) and min(v.shape) > _SMALL // 4:
        basis = v @ _gaussian(v, width)
        for _ in range(2):
            basis = torch.linalg.qr(basis)[0]
            basis = v @ (v.mT @ basis)
        basis = torch.linalg.qr(basis)[0]
        u, s, vt = torch.linalg.svd(basis.mT @ v, full_matrices=False)
        if float(s[-1]) <= _limit(s, tolerance):
            keep = int((s > _limit(s, tolerance)).sum())
            return LowRank(basis @ u[:, :keep], s[:keep], vt[:keep])
        width *= 2
    wide = v.shape[0] <= v.shape[1]
    values, vectors = torch.linalg.eigh(_thin_gram(v))
    s = values.clamp(min=0.0).sqrt().flip(0)
    keep = int((s > _limit(s, tolerance)).sum())
    s = s[:keep].to(v.dtype)
    thin = vectors.flip(1)[:, :keep].to(v.dtype)
    if wide:
        return LowRank(thin, s, (thin.mT @ v) / s[:, None])
    return LowRank((v @ thin) / s, s, thin.mT)


def _limit(s: Tensor, tolerance: float) -> float:
    return max(tolerance, _FLOAT32 * float(s[0]))


def _thin_gram(v: Tensor) -> Tensor:
    """``V V'`` or ``V' V``, whichever is smaller, in float64 from a few columns or rows a time."""
    thin = v if v.shape[0] <= v.shape[1] else v.mT
    gram = torch.zeros(len(thin), len(thin), dtype=torch.float64, device=v.device)
    for part in thin.split(2048, dim=1):
        part = part.double()
        gram += part @ part.mT
    return gram


def _gaussian(v: Tensor, columns: int) -> Tensor:
    """Normal numbers ``[n, columns]``, the same every time and on every device."""
    drawn = np.random.default_rng(0).standard_normal((v.shape[1], columns), dtype=np.float32)
    return torch.from_numpy(drawn).to(v.device, v.dtype)

"""What the figures of defences share: the comparison that ``finebound defend --compare`` left."""

from __future__ import annotations

from finebound.base.errors import InputError
from finebound.base.records import file_sha256
from finebound.results.tradeoff import TradeoffResult
from paper_figures import paths


def read_compared() -> tuple[TradeoffResult, str]:
    """The comparison in ``paths.DEFENDED``, its file's SHA-256. Raises InputError without one."""
    try:
        compared = TradeoffResult.load(file := paths.DEFENDED / TradeoffResult.file)
    except InputError as error:
        raise InputError(
            error.what,
            remedy="Make it with `finebound defend --compare validate-out --out defences-out`.",
            file=error.file,
        ) from None
    return compared, file_sha256(file)

"""What the figures of defences share: the comparison that ``finebound defend --compare`` left."""

from __future__ import annotations

import json
from typing import Any

from finebound.base.errors import InputError
from finebound.base.records import file_sha256
from paper_figures import paths

COMPARED = "defences.json"


def read_compared() -> tuple[dict[str, Any], str]:
    """``defences.json`` in ``paths.DEFENDED`` and its SHA-256. Raises InputError without one."""
    file = paths.DEFENDED / COMPARED
    try:
        return json.loads(file.read_text(encoding="utf-8")), file_sha256(file)
    except (OSError, ValueError) as error:
        raise InputError(
            f"the comparison of defences cannot be read: {error}.",
            remedy="Make it with `finebound defend --compare validate-out --out defences-out`.",
            file=file,
        ) from None

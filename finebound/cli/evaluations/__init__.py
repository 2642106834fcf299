"""The evaluations of ``finebound evaluate``: one module each, imported when asked for."""

from __future__ import annotations

from finebound.base.errors import InputError


def require_one_source(
    recorded: object, model: object, *, example: str, flag: str = "--responses"
) -> None:
    """Raises InputError unless either recorded answers or a model is given."""
    if (recorded is None) == (model is None):
        raise InputError(
            f"give either {flag} or --model.", remedy=f"For example: finebound evaluate {example}."
        )

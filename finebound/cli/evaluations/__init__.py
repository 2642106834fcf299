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


def require_read(columns: object, data: object, *, flag: str) -> None:
    """Raises InputError for --ignore-columns without a dataset whose columns are read."""
    if columns and data is None:
        raise InputError(
            f"--ignore-columns is for the columns of {flag}.",
            remedy=f"Leave it out, or add {flag}.",
        )

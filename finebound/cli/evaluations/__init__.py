"""The evaluations of ``finebound evaluate``: one module each, imported when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finebound.base.errors import InputError

if TYPE_CHECKING:
    from finebound.results.evaluation import EvaluationResult


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found: its records, what --json prints, how a person sees it.

    ``code`` is the command's exit code.
    """

    results: Sequence[EvaluationResult]
    summary: Mapping[str, Any]
    show: Callable[[], None]
    code: int = 0


def made(options: Any, inputs: Mapping[str, str]) -> dict[str, Any]:
    """The manifest of an evaluation with these options; ``inputs`` are the hashes of its files."""
    from finebound.base.records import manifest
    from finebound.cli.options import given_options

    return manifest(
        given=given_options(options, type(options)),
        inputs=inputs,
        seed=getattr(options, "seed", 0),
    )


def finish(found: Evaluated, options: Any) -> int:
    """Write the records into --out, print; returns the exit code."""
    from finebound.base.records import to_json
    from finebound.base.text import show

    written = []
    if options.out is not None:
        written = [str(result.save(options.out)) for result in found.results]
    if options.json:
        print(to_json(found.summary))
        return found.code
    found.show()
    if written:
        show(f"\nWritten: {', '.join(written)}")
    return found.code


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

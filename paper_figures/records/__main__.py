"""``python -m paper_figures.records [NAME ...]``: make the figures' records anew."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from finebound.base.errors import InputError
from paper_figures.records import make_record, write_record
from paper_figures.registry import chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 with one paragraph if a name is unknown or a file cannot be written."""
    parser = argparse.ArgumentParser(
        prog="python -m paper_figures.records",
        description="Make the recorded data of the figures anew, all of them or the named ones.",
        epilog="example: python -m paper_figures.records pareto_front --seed 0",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="figures (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="master seed (default: 0)")
    options = parser.parse_args(arguments)
    try:
        for name in chosen(options.names):
            print(write_record(make_record(name, seed=options.seed)))
    except InputError as error:
        print(f"paper_figures.records: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

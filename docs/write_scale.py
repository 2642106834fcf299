"""Writes the tables of docs/how-to/scale.md from the code: ``python -m docs.write_scale``."""

from __future__ import annotations

from pathlib import Path

from finebound.cli.needs import needs, needs_table
from llm_validation.models.footprint import Shape

PAGE = Path(__file__).parent / "how-to" / "scale.md"
BEGIN = "`python -m docs.write_scale` writes these tables:"
END = "finebound keeps a LoRA's base in float32."
ROWS, LENGTH = 4, 1024
SHAPES = {
    "1B (Llama 3.2)": Shape(16, 2048, 8192, 32, 8, 64, 128256, tied=True),
    "8B (Llama 3.1)": Shape(32, 4096, 14336, 32, 8, 128, 128256),
    "70B (Llama 3.1)": Shape(80, 8192, 28672, 64, 8, 128, 128256),
}


def written(page: str) -> str:
    """The page with its tables made anew."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    tables = [
        needs_table(
            f"{name}, {(shape.linear + shape.other) / 1e9:.2f} billion weights",
            list(needs(shape, rows=ROWS, length=LENGTH)),
        ).markdown()
        for name, shape in SHAPES.items()
    ]
    return before + BEGIN + "\n\n" + "\n".join(tables) + "\n" + END + after


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

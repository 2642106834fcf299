"""A sweep on disk: one Parquet file a chunk beside a manifest that says what they hold."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from finebound.base.errors import InputError
from finebound.base.records import manifest, require_folder, to_json, write_atomically
from sims.sweep_grid import Grid

Columns = dict[str, np.ndarray]

MANIFEST = "manifest.json"


def joined(parts: Sequence[Columns]) -> Columns:
    """Columns one below the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class Layout:
    """How a sweep is cut: ``block`` instances at once on a device, ``instances`` a file."""

    block: int
    instances: int

    def chunks(self, grid: Grid) -> dict[int, range]:
        """The instances of each file."""
        starts = range(0, grid.instances, self.instances)
        return {
            k: range(first, min(first + self.instances, grid.instances))
            for k, first in enumerate(starts)
        }


class Record:
    """The folder of one sweep. Each file appears whole or not at all."""

    def __init__(self, folder: Path, grid: Grid, layout: Layout | None) -> None:
        self.folder, self.grid, self.layout = folder, grid, layout

    @classmethod
    def open(cls, out: str | Path, grid: Grid) -> Record:
        """The record in ``out``, to be started or continued.

        Raises InputError where the folder cannot be written, or holds another sweep.
        """
        out = Path(out)
        require_folder(out)
        path = out / MANIFEST
        if not path.exists():
            stray = next(iter(sorted(out.glob("chunk-*.parquet"))), None)
            if stray is not None:
                raise InputError(
                    f"is there without a {MANIFEST}: what it holds is unknown.",
                    remedy="Remove it, or choose another folder as `out`.",
                    file=stray,
                )
            return cls(out, grid, None)
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            given, layout = known["given"], Layout(**known["layout"])
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(
                "is not the manifest of a sweep.", remedy="Choose another folder.", file=path
            ) from None
        different = first_difference(given, json.loads(to_json(grid.as_json())))
        if different is not None:
            key, before, now = different
            raise InputError(
                f"is the manifest of another sweep: {key} was {before} there and is {now} now.",
                remedy="Choose another folder as `out`, restore the value, or remove this "
                "folder to start anew.",
                file=path,
            )
        # What a killed run was writing; files take their name when they are whole.
        for unfinished in out.glob(".chunk-*.parquet.*"):
            unfinished.unlink(missing_ok=True)
        return cls(out, grid, layout)

    def start(self, layout: Layout) -> None:
        """Write the manifest, before the first chunk."""
        made = manifest(given=self.grid.as_json(), inputs={}, seed=self.grid.seed)
        write_atomically(self.folder / MANIFEST, to_json({**made, "layout": asdict(layout)}) + "\n")
        self.layout = layout

    def _chunks(self) -> dict[int, range]:
        assert self.layout is not None  # a sweep that was started has one
        return self.layout.chunks(self.grid)

    def missing(self) -> dict[int, range]:
        """The chunks of a started sweep that no file holds yet."""
        chunks = self._chunks()
        return {k: chunk for k, chunk in chunks.items() if not self._file(k).exists()}

    def write(self, k: int, columns: Columns) -> None:
        """The file of chunk ``k``."""
        table = pa.table({name: _arrow(values) for name, values in columns.items()})
        stream = io.BytesIO()
        parquet.write_table(table, stream)
        write_atomically(self._file(k), stream.getvalue())

    def columns(self) -> Columns:
        """All chunks, in their order. Raises InputError for a file that was damaged."""
        chunks = self._chunks()
        return joined([self._read(self._file(k), len(chunk)) for k, chunk in chunks.items()])

    def _file(self, k: int) -> Path:
        return self.folder / f"chunk-{k:05d}.parquet"

    def _read(self, path: Path, instances: int) -> Columns:
        try:
            # One by one: a memory map or a dataset would look at the folder's other files.
            table = parquet.ParquetFile(path).read()
        except (OSError, pa.ArrowException) as error:
            raise _damaged(path, str(error)) from None
        rows = instances * len(self.grid.named)
        if table.num_rows != rows:
            raise _damaged(path, f"{table.num_rows} rows instead of {rows}")
        return {name: _numpy(table[name]) for name in table.column_names}


def first_difference(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> tuple[str, str, str] | None:
    """The first key, dotted, on which two configurations differ, and its values there."""
    old, new = dict(_leaves(before)), dict(_leaves(now))
    for key in dict.fromkeys([*old, *new]):
        if old.get(key, "absent") != new.get(key, "absent"):
            return key, _told(old.get(key, "absent")), _told(new.get(key, "absent"))
    return None


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _told(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _damaged(path: Path, why: str) -> InputError:
    return InputError(
        f"cannot be read ({why}).",
        remedy="Remove this file and start the sweep again: only its runs are repeated.",
        file=path,
    )


def _arrow(values: np.ndarray) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _numpy(column: pa.ChunkedArray) -> np.ndarray:
    array = column.combine_chunks()
    if pa.types.is_fixed_size_list(array.type):
        return array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), -1)
    return array.to_numpy(zero_copy_only=False)

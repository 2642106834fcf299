"""Reading the rows of one data file: JSON Lines, JSON, CSV or Parquet, plain or gzipped."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from finebound.base.errors import InputError
from finebound.base.records import KeyTwice, once_each
from llm_validation.data.columns import KNOWN_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

EXTENSIONS = (".jsonl", ".ndjson", ".json", ".csv", ".parquet")
_LFS_POINTER = b"version https://git-lfs"
_LONGEST_CELL = 2**31 - 1
_AS_UTF8 = "Save the file again as UTF-8."
_LIST_START = re.compile(r'\s*(?:\{\s*"data"\s*:\s*)?\[\s*')
_LIST_END = re.compile(r"\s*\]\s*\Z")
_COMMA = re.compile(r"\s*,\s*")


def data_extension(path: Path) -> str | None:
    """The extension that decides how the file is read, ``.gz`` aside; None when not a data file."""
    suffixes = path.suffixes
    if suffixes and suffixes[-1].lower() == ".gz":
        suffixes.pop()
    extension = suffixes[-1].lower() if suffixes else ""
    return extension if extension in EXTENSIONS else None


def read_rows(
    path: Path,
    *,
    vectors: bool = True,
    rows_of: Callable[[dict[str, Any]], list[Any] | None] | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a file in their order, each with its 1-based number.

    The number of a JSON Lines row is its line; elsewhere records are counted, a CSV header not.
    Without ``vectors``, Parquet's columns of lists of numbers keep their name alone: decoding
    embeddings is slow. ``rows_of`` finds the rows in a JSON file that is one object (default: those
    under ``data``). Raises InputError for a file that cannot be read whole, and for a JSON object
    with one key twice; nothing is skipped.
    """
    extension = data_extension(path)
    if extension is None:
        raise InputError(
            f"the extension {path.suffix!r} is not one of a data file.",
            remedy=f"Use {', '.join(EXTENSIONS)}, each also with .gz; "
            "save spreadsheets as CSV in UTF-8.",
            file=path,
        )
    readers = {
        ".json": partial(_read_json, rows_of=rows_of),
        ".csv": _read_csv,
        ".parquet": partial(_read_parquet, vectors=vectors),
    }
    with _opened(path) as stream:
        yield from readers.get(extension, _read_jsonl)(stream, path)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    zipped = path.suffix.lower() == ".gz"
    try:
        with gzip.open(path) if zipped else path.open("rb") as stream:
            start = stream.peek(len(_LFS_POINTER))
            if not start:
                raise InputError("the file is empty.", remedy="Name a file with rows.", file=path)
            if start.startswith(_LFS_POINTER):
                raise InputError(
                    "this is a Git LFS pointer, not the data.",
                    remedy="Run `git lfs pull` in its repository.",
                    file=path,
                )
            if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise InputError("the file is UTF-16, not UTF-8.", remedy=_AS_UTF8, file=path)
            yield cast(IO[bytes], stream)  # a GzipFile reads as one
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"the gzip data are damaged or cut short ({error}).",
            remedy="Download or compress the file again; if it is not gzipped, drop the .gz.",
            file=path,
        ) from error
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error.strerror or error}.",
            remedy="Check its path and its permissions.",
            file=path,
        ) from error


def _lines(stream: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(stream):
        yield (line if number else line.removeprefix(codecs.BOM_UTF8)).decode()


def _not_utf8(error: UnicodeDecodeError, path: Path, row: int | None) -> InputError:
    byte = error.object[error.start]
    return InputError(
        f"the text is not UTF-8 (byte 0x{byte:02x}).", remedy=_AS_UTF8, file=path, row=row
    )


_JSON = json.JSONDecoder(object_pairs_hook=once_each)


def _malformed(error: Exception, path: Path, row: int | None, text: str) -> InputError:
    if isinstance(error, KeyTwice):
        what = str(error)
        remedy = "Give each key once: it cannot be told which value is meant."
    elif "\0" in text:
        what, remedy = "contains a NUL character", "Remove it: the file may be damaged."
    else:
        what, remedy = f"malformed JSON: {error}", "Correct or remove the row."
    return InputError(f"{what}.", remedy=remedy, file=path, row=row)


def _as_object(value: Any, path: Path, row: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(
            f"the row is a JSON {type(value).__name__}, not an object with named columns.",
            remedy='Write each row as {"prompt": "...", "response": "..."}.',
            file=path,
            row=row,
        )
    return value


def _read_jsonl(stream: IO[bytes], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    row, line, lines = 0, "", _lines(stream)
    try:
        for row, line in enumerate(lines, 1):
            if line and not line.isspace():
                yield row, _as_object(_JSON.decode(line), path, row)
    except UnicodeDecodeError as error:
        raise _not_utf8(error, path, row + 1) from error
    except (ValueError, RecursionError) as error:
        if row == 1 and line.lstrip().startswith("["):
            raise InputError(
                "the file holds one JSON list, not a JSON object on each line.",
                remedy="Rename it to end in .json.",
                file=path,
                row=1,
            ) from error
        raise _malformed(error, path, row, line) from error


def _read_json(
    stream: IO[bytes],
    path: Path,
    *,
    rows_of: Callable[[dict[str, Any]], list[Any] | None] | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = stream.read().removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(error, path, None) from error
    if text.lstrip()[:1] == "[":
        yield from _elements(text, path)
        return
    try:
        content = _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        if str(error).startswith("Extra data") and text.lstrip().startswith("{"):
            # Many hubs call JSON Lines ".json".
            yield from _read_jsonl(io.BytesIO(text.encode("utf-8", "surrogatepass")), path)
            return
        raise _malformed(error, path, _broken_element(text), text) from error
    rows = None
    if isinstance(content, dict):
        rows = content.get("data") if rows_of is None else rows_of(content)
    if not isinstance(rows, list):
        found = f"a JSON {type(content).__name__}"
        if isinstance(content, dict):
            found = f"an object with the keys {', '.join(map(repr, list(content)[:8]))}"
        raise InputError(
            f"the file holds {found}, not a list of rows.",
            remedy='Write [{"prompt": "...", "response": "..."}, ...] or {"data": [...]}.',
            file=path,
        )
    for row, value in enumerate(rows, 1):
        yield row, _as_object(value, path, row)


def _elements(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The elements of a JSON list, decoded one by one: a long list is never held whole."""
    start = _LIST_START.match(text)
    assert start is not None  # the caller has looked
    place, row = start.end(), 0
    if _LIST_END.match(text, place):
        return
    while True:
        row += 1
        try:
            value, place = _JSON.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise _malformed(error, path, row, text) from error
        yield row, _as_object(value, path, row)
        comma = _COMMA.match(text, place)
        if comma is None:
            break
        place = comma.end()
    if not _LIST_END.match(text, place):
        error = json.JSONDecodeError("Expecting ',' or the list's end", text, place)
        raise _malformed(error, path, row, text)


def _broken_element(text: str) -> int | None:
    """The 1-based element of the list in ``{"data": [...`` at which parsing stops, or None."""
    opening = _LIST_START.match(text)
    if opening is None:
        return None
    place, row = opening.end(), 0
    while True:
        row += 1
        try:
            _, place = _JSON.raw_decode(text, place)
        except (ValueError, RecursionError):
            return row
        comma = _COMMA.match(text, place)
        if comma is None:
            return row
        place = comma.end()


def _read_csv(stream: IO[bytes], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    # The module's limit of 128 KiB a cell is below what long dialogues need.
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(_lines(stream), strict=True)
    row, header = 0, None
    try:
        for cells in reader:
            if not cells:
                continue
            if header is None:
                header = _checked_header(cells, path)
                continue
            row += 1
            if len(cells) != len(header):
                raise InputError(
                    f"{len(cells)} cells where the header has {len(header)} "
                    f"(line {reader.line_num} of the file).",
                    remedy='Put cells that contain commas or line breaks in "quotes".',
                    file=path,
                    row=row,
                )
            yield row, dict(zip(header, cells, strict=True))
    except UnicodeDecodeError as error:
        raise _not_utf8(error, path, row + 1) from error
    except csv.Error as error:
        raise InputError(
            f"malformed CSV: {error} (line {reader.line_num} of the file).",
            remedy='Close every quote, and write a quote within a cell as "".',
            file=path,
            row=row + 1,
        ) from error


def _checked_header(cells: list[str], path: Path) -> list[str]:
    twice = {cell for cell in cells if cells.count(cell) > 1}
    if twice:
        raise InputError(
            f"the header names {', '.join(map(repr, sorted(twice)))} more than once.",
            remedy="Give each column its own name in the first line.",
            file=path,
        )
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        names = cells[0].split(separator)
        if len(cells) == 1 < len(names) and KNOWN_COLUMNS & set(names):
            raise InputError(
                f"the columns are separated by {name}, not by commas.",
                remedy="Save the file again with commas.",
                file=path,
            )
    return cells


def _read_parquet(
    stream: IO[bytes], path: Path, *, vectors: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        source = pa.BufferReader(stream.read()) if path.suffix.lower() == ".gz" else stream
        file = pq.ParquetFile(source)
        schema = file.schema_arrow
        names = schema.names
        needed = [field.name for field in schema if vectors or not _is_vector(field.type)]
        # The others keep their name, for errors and readings list it.
        blank = dict.fromkeys(names)
        for batch in file.iter_batches(batch_size=1024, columns=needed):
            for values in batch.to_pylist():
                row += 1
                yield row, {**blank, **values}
    except UnicodeDecodeError as error:
        raise _not_utf8(error, path, row + 1) from error
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise InputError(
            f"not a readable Parquet file: {' '.join(str(error).split())[:300]}.",
            remedy="Write or download it again.",
            file=path,
            row=row + 1 if row else None,
        ) from error


def _is_vector(kind: pa.DataType) -> bool:
    """Whether values are lists of numbers, of any depth."""
    import pyarrow as pa

    depth = 0
    while (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        kind, depth = kind.value_type, depth + 1
    return depth > 0 and pa.types.is_primitive(kind)

"""Columns of CSV files, read by name; a malformed row is named by its line."""

import csv
from collections.abc import Sequence
from pathlib import Path

from basics.errors import UserError


def has_column(path: Path, name: str) -> bool:
    """Say if the header of a CSV file names a column."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        return name in [cell.strip() for cell in next(csv.reader(file), [])]


def read_table(path: Path, columns: Sequence[str], classes: int | None = None) -> list[tuple[str, ...]]:
    """Read columns of a CSV file by name.

    Args:
        path: Path of the file, whose first line is the header.
        columns: Names of the columns, in the order of the result.
        classes: Number of classes, if the last column is a label of 0 to `classes` - 1; None accepts any text.

    Returns:
        One tuple a row.

    Raises:
        UserError: There is no such file, a column is missing, or a row is malformed; the message names the line.
    """
    if not path.is_file():
        raise UserError(f"no table {path}")
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.reader(file)
        header = [name.strip() for name in next(reader, [])]
        if missing := [name for name in columns if name not in header]:
            raise UserError(f"{path} has no column {missing[0]!r}; its header is {','.join(header)}")
        indices = [header.index(name) for name in columns]
        rows = []
        for cells in reader:
            if not cells:
                continue
            if len(cells) <= max(indices):
                raise UserError(f"{path} line {reader.line_num}: {len(cells)} cells, expected {','.join(columns)}")
            row = tuple(cells[index].strip() for index in indices)
            if classes is not None and not (row[-1].isdigit() and int(row[-1]) < classes):
                raise UserError(f"{path} line {reader.line_num}: label {row[-1]!r}, expected 0 to {classes - 1}")
            rows.append(row)
    if not rows:
        raise UserError(f"{path} has no rows")
    return rows

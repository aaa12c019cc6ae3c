import csv
from collections.abc import Sequence
from pathlib import Path

from basics.errors import UserError


def has_column(path: Path, name: str) -> bool:
    """Whether the header of a CSV file names a column."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        return name in [cell.strip() for cell in next(csv.reader(file), [])]


def read_table(path: Path, columns: Sequence[str], classes: int | None = None) -> list[tuple[str, ...]]:
    """Read columns of a CSV file by name.

    Args:
        path: The file; its first line is the header.
        columns: The names of the columns, in the order wanted.
        classes: The last column must be a label of 0 to `classes` - 1.

    Returns:
        One tuple a row.

    Raises:
        UserError: There is no such file, a column is missing, or a row is not as it should be; names the line.
    """
    if not path.is_file():
        raise UserError(f"no table {path}")
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.reader(file)
        header = [name.strip() for name in next(reader, [])]
        if missing := [name for name in columns if name not in header]:
            raise UserError(f"{path} has no column {missing[0]!r}; its header is {','.join(header)}")
        places = [header.index(name) for name in columns]
        rows = []
        for cells in reader:
            if not cells:
                continue
            if len(cells) <= max(places):
                raise UserError(f"{path} line {reader.line_num}: {len(cells)} cells, expected {','.join(columns)}")
            row = tuple(cells[place].strip() for place in places)
            if classes is not None and not (row[-1].isdigit() and int(row[-1]) < classes):
                raise UserError(f"{path} line {reader.line_num}: label {row[-1]!r}, expected 0 to {classes - 1}")
            rows.append(row)
    if not rows:
        raise UserError(f"{path} has no rows")
    return rows

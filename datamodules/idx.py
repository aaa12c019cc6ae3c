"""IDX files, in which Fashion-MNIST comes: a header with the sizes, then the bytes."""

from pathlib import Path

import numpy as np

from basics.errors import UserError

HEADER = {1: 8, 3: 16}  # dimensions of the data -> bytes of the header


def read_shape(path: Path, dimensions: int) -> tuple[int, ...]:
    """Read the sizes in the header of an IDX file, and check them against the size of the file.

    Raises:
        UserError: The file is of another kind or truncated.
    """
    with path.open("rb") as file:
        raw = file.read(HEADER[dimensions])
    header = np.frombuffer(raw[: len(raw) // 4 * 4], ">u4")
    shape = tuple(int(size) for size in header[1:])
    complete = len(header) == dimensions + 1 and path.stat().st_size == HEADER[dimensions] + np.prod(shape)
    if not complete or header[0] != 0x800 + dimensions:
        raise UserError(f"{path} is not a complete IDX file: remove it, and it will be downloaded again")
    return shape

"""Rows of pixels parsed many at once are those parsed one by one."""

import numpy as np
import pytest

from datamodules.fer2013_csv import parse_pixels


def texts_of(values, blank=" "):
    return [blank.join(map(str, row)).encode() for row in values.tolist()]


def test_many_rows_at_once_are_read_like_one_by_one():
    values = np.random.default_rng(0).integers(0, 256, (3, 2304))
    values[0, :4] = [0, 9, 10, 255]
    values[1, -3:] = [99, 100, 0]
    for blank in (" ", "  "):
        assert np.array_equal(parse_pixels(texts_of(values, blank)), values.reshape(-1))


@pytest.mark.parametrize(
    "row",
    [
        texts_of(np.full((1, 2304), 7))[0].replace(b"7", b"0007", 1),
        texts_of(np.full((1, 2304), 7))[0].replace(b"7", b"256", 1),
        texts_of(np.full((1, 2304), 7))[0].replace(b"7", b"-7", 1),
        texts_of(np.full((1, 2304), 7))[0].replace(b"7 7", b"7 7 7", 1),
        texts_of(np.full((1, 2304), 7))[0].replace(b"7 7", b"7\t7", 1),
    ],
    ids=["zeros", "256", "minus", "one-more", "tab"],
)
def test_a_row_that_is_not_plain_is_left_to_be_read_alone(row):
    plain = texts_of(np.full((1, 2304), 7))[0]
    assert parse_pixels([plain, plain]) is not None
    assert parse_pixels([plain, row]) is None
    short = plain[2:]  # makes up for a number too many in another row
    assert parse_pixels([plain + b" 7", short]) is None

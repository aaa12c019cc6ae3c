"""The table of what an epoch costs: its rows, and how measured ones are put into it."""

import pytest

from basics.blocks import read_block
from benchmarks import epoch
from experiments.studies import STUDIES

MEASURED = {"seconds": 1234.5, "images_per_second": 16.78, "peak_memory_mb": 1983.2}


@pytest.mark.parametrize(
    ("config", "steps", "line"),
    [
        ("fer_full", None, "| fer_full | 1,234 | an epoch | 16.8 | 1,983 |"),
        ("fer_full", 40, "| fer_full | 1,711 | 40 steps | 16.8 | 1,983 |"),
        ("deepweeds_gradual", 2, "| deepweeds_gradual | 626 | 5 x 2 steps | 16.8 | 1,983 |"),
        ("deepweeds_lpft", None, "| deepweeds_lpft | 1,234 | 5 epochs | 16.8 | 1,983 |"),
    ],
)
def test_a_row_says_over_what_it_was_measured(config, steps, line):
    assert epoch.line_of(config, MEASURED, steps) == line


def test_measured_rows_replace_their_old_ones_in_the_order_of_the_studies():
    block = epoch.HEADER + "| fer_full | 1 |\n| deepweeds_full | 2 |\n| gone_full | 3 |\n"
    lines = {"fer_full": "| fer_full | 9 |", "fer_frozen": "| fer_frozen | 8 |", "mine": "| mine | 7 |"}
    found = epoch.merged(block, lines).splitlines()[2:]
    assert sorted(found) == sorted(["| deepweeds_full | 2 |", *lines.values()])
    assert [found.index(lines[name]) for name in ("fer_frozen", "fer_full")] == sorted(
        found.index(lines[name]) for name in ("fer_frozen", "fer_full")
    )
    assert found[-1] == "| mine | 7 |"


def test_the_page_has_every_shipped_config():
    names = [line.split("|")[1].strip() for line in read_block("cost").splitlines()[2:]]
    assert names == epoch.CONFIGS
    assert set(epoch.IMAGES) == set(STUDIES)

"""Rows of the benchmarks: ratio, spread, verdict, file and table."""

import json
from pathlib import Path

import pytest

from benchmarks import specs
from benchmarks.measure import Row, Spec, fallen, merge, number, read_rows, summarise, table, write_rows

SECONDS = Spec("it", "s", 2, 4)
RATE = Spec("it", "images/s", 3, rate=True)
COST = Spec("it", "MB", 0.5, cost=True)
SPECS = {"seconds": SECONDS, "rate": RATE, "cost": COST}


def row(name, ratio):
    return Row(name, 1, 1, ratio, 0.1, SPECS[name].unit)


@pytest.mark.parametrize(
    ("spec", "ours", "peer", "ratio"),
    [(SECONDS, [1, 2, 9], [8, 4, 1], 2), (RATE, [1, 6, 9], [2, 2, 3], 3), (COST, [1, 2, 9], [4, 8, 9], 0.25)],
)
def test_the_ratio_is_that_of_the_medians_and_says_how_many_times_better(spec, ours, peer, ratio):
    found = summarise("row", spec, ours, peer)
    assert found.ratio == ratio
    assert (found.ours, found.peer, found.unit) == (sorted(ours)[1], sorted(peer)[1], spec.unit)


def test_the_spread_is_half_the_interquartile_range_of_the_pairs():
    found = summarise("row", SECONDS, [1, 1, 1, 1, 1], [2, 9, 4, 5, 3])  # ratios 2 to 9, quartiles 3 and 5
    assert found.ratio == 4
    assert found.spread == 0.25
    assert summarise("row", SECONDS, [1], [3]).spread == 0


@pytest.mark.parametrize(
    ("spec", "ratio", "device", "verdict"),
    [
        (SECONDS, 2.0, "cpu", "reached"),
        (SECONDS, 1.9, "cpu", "short"),
        (SECONDS, 3.9, "cuda", "short"),
        (RATE, 3.0, "cuda", "reached"),
        (COST, 0.5, "cpu", "reached"),
        (COST, 0.6, "cpu", "short"),
        (Spec("it", "s"), 1.0, "cpu", ""),
    ],
)
def test_the_reach(spec, ratio, device, verdict):
    assert spec.reached(ratio, device) == verdict


def test_merge_replaces_what_was_measured_anew_and_keeps_the_order():
    old = [row("cost", 1), row("seconds", 2), Row("gone", 1, 1, 1, 0, "s")]
    assert merge(old, [row("seconds", 3), row("rate", 4)], SPECS) == [row("seconds", 3), row("rate", 4), row("cost", 1)]


def test_a_row_has_fallen_when_its_ratio_is_worse_by_more_than_a_quarter():
    old = [row("seconds", 10), row("rate", 10), row("cost", 0.3)]
    assert fallen(old, [row("seconds", 7.6), row("rate", 99), row("cost", 0.39)], SPECS) == []
    lines = fallen(old, [row("seconds", 7.4), row("rate", 10), row("cost", 0.41)], SPECS)
    assert [line.split(":")[0] for line in lines] == ["seconds", "cost"]
    assert fallen([], [row("seconds", 1)], SPECS) == []  # never measured before


def test_results_are_written_and_read_back(tmp_path):
    file = tmp_path / "results.json"
    rows = [row("seconds", 2), Row("rate", 1, 1, 3, 0.1, "images/s", "a note")]
    assert read_rows(file) == []
    write_rows(file, rows, "cpu")
    assert read_rows(file) == rows
    content = json.loads(file.read_text())
    assert list(content) == ["machine", "versions", "date", "rows"]
    assert list(content["rows"][0]) == ["name", "ours", "peer", "ratio", "spread", "unit"]
    assert content["versions"]["python"]
    write_rows(file, rows[:1], None)  # nothing measured: only the rows change
    assert json.loads(file.read_text()) == content | {"rows": content["rows"][:1]}


def test_the_table_has_the_verdict_and_the_notes():
    text = table([row("seconds", 1.5), Row("cost", 300, 1200, 0.25, 0.02, "MB", "a note")], SPECS, "cpu")
    assert "**1.5x ± 10%** | >= 2x | short |" in text
    assert "300 MB | 1,200 MB | **0.25 ± 2%** | <= 0.5 | reached (1) |" in text
    assert text.endswith("\n(1) a note\n")
    assert [number(0.01234), number(12.34), number(1234.5)] == ["0.0123", "12.3", "1,234"]


def test_the_committed_results_are_of_rows_that_there_are():
    assert {row.name for row in read_rows(Path("benchmarks/results.json"))} <= set(specs.SPECS)
    assert set(specs.QUICK) <= set(specs.SPECS)

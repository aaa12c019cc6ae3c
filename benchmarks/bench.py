"""Speed of this project against what a user would write instead: `python -m benchmarks.bench` writes results.json.

Machines are noisy. Therefore the two sides of a row take turns, at least five times, and a row holds the ratio of their
medians with its spread. `--check` measures a part quickly and compares it with the committed file.
"""

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from basics.blocks import replace_block
from basics.errors import stop
from benchmarks.measure import Row, fallen, merge, read_rows, summarise, table, write_rows
from benchmarks.rows import GROUPS, Conditions
from benchmarks.specs import QUICK, SPECS

RESULTS = Path(__file__).with_name("results.json")
# Files below the data folder that a row needs, by the beginning of its name; every other row needs FER2013.
NEEDS = {"fashion": "FashionMNIST/raw", "loop_overhead": "FashionMNIST/raw", "deepweeds": "deepweeds/images"}


def data_of(row: str) -> str:
    """Find the folder or file of the data set that a row needs."""
    return next((path for prefix, path in NEEDS.items() if row.startswith(prefix)), "fer2013/fer2013.csv")


def require(root: Path, rows: Sequence[str]) -> None:
    """Stop with one line if the peers' packages or the data of a row are missing."""
    if importlib.util.find_spec("pandas") is None:
        stop("no pandas: the peers need the extra `bench`, which make bench installs")
    for path in sorted({root / data_of(name) for name in rows}):
        if not path.exists():
            stop(f"no {path}: fetch it with make data, or pass --root FOLDER")


def measure(names: Sequence[str], root: Path, device: str, repeats: int, quick: bool = False) -> Iterator[Row]:
    """Measure rows in groups that share their processes; each row is printed and yielded as soon as it is measured.

    Args:
        names: Names of the rows.
        root: Data folder.
        device: `cpu` or `cuda`.
        repeats: Repeats of each side.
        quick: Whether to take fewer steps and repeats.
    """
    with tempfile.TemporaryDirectory() as folder:
        conditions = Conditions(root, Path(folder), device, repeats, quick)
        (conditions.scratch / "fer2013").symlink_to((root / "fer2013").resolve())
        for group, function in GROUPS.items():
            if not set(group) & set(names):
                continue
            start = time.perf_counter()
            for name, (ours, peer) in function(conditions).items():
                if name in names:
                    row = summarise(name, SPECS[name], ours, peer)
                    values = f"{row.ours:.4g}, {row.peer:.4g} {row.unit}"
                    verdict = SPECS[name].reached(row.ratio, device)
                    print(f"{name}: {row.ratio:.3g} ± {row.spread:.0%} ({values}) {verdict}")
                    yield row
            print(f"  {time.perf_counter() - start:.0f} s", flush=True)


def main() -> None:
    """Measure, write and print the rows, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=SPECS, metavar="ROW", help=f"rows of {', '.join(SPECS)}")
    parser.add_argument("--root", type=Path, default=Path("data"), help="data folder")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="compare a quick measurement with results.json")
    parser.add_argument("--table", action="store_true", help="measure nothing: refresh the notes and the table")
    parser.add_argument("--out", type=Path, default=RESULTS, help="results file; rows that are not measured stay")
    options = parser.parse_args()
    if not options.table:
        names = options.rows or (QUICK if options.check else tuple(SPECS))
        require(options.root, names)
    if options.check:
        check(names, options.root, options.out)
    rows = read_rows(options.out)
    if options.table:
        rows = [replace(row, note=SPECS[row.name].note) for row in rows if row.name in SPECS]
        write_rows(options.out, rows, None)
    else:
        for row in measure(names, options.root, "cpu", options.repeats):
            rows = merge(rows, [row], SPECS)
            write_rows(options.out, rows, "cpu")  # at once: a measured row survives the failure of a later one
    block = table(rows, SPECS, "cpu")
    print(block)
    if options.out == RESULTS:
        replace_block("bench", block)


def check(names: Sequence[str], root: Path, results: Path) -> NoReturn:
    """Exit with 1 if a row has fallen twice. The second measurement tells a slower program from a disturbed machine."""
    old = read_rows(results)
    if not old:
        stop(f"no {results} to compare with: make bench writes it")
    lines = fallen(old, list(measure(names, root, "cpu", 3, quick=True)), SPECS)
    if lines:
        print("measured again: " + "; ".join(lines), flush=True)
        names = [line.split(":")[0] for line in lines]
        lines = fallen(old, list(measure(names, root, "cpu", 3, quick=True)), SPECS)
    print("\n".join(lines) or "no row has fallen")
    raise SystemExit(1 if lines else 0)


if __name__ == "__main__":
    main()

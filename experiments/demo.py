"""The whole path in two minutes on a CPU: pretrain a small network, transfer it with three arms, compare.

All images are generated, so nothing is needed but this project: `make demo`.
"""

import argparse
import io
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from basics.blocks import indented, replace_block
from datamodules import sample_data
from experiments.cli import main as lightning
from experiments.runs import RunFolder

DATA = Path("data/sample")
RUNS = Path("runs/demo")
ARMS = ("frozen", "partial", "full")


def main() -> None:
    """Generate, pretrain, fine-tune, test and print the table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.demo", description=__doc__)
    parser.add_argument("--readme", action="store_true", help="put the table into README.md, too")
    given = parser.parse_args()
    start = time.perf_counter()
    for name, write in (("shapes", sample_data.write_shapes), ("fer2013", sample_data.write_fer2013)):
        if not (DATA / name).is_dir():
            write(DATA)
    print(f"== generated data in {DATA} ({time.perf_counter() - start:.0f} s)\n\n== pretraining on shapes", flush=True)
    lightning(["fit", "--config", "configs/demo/pretrain.yaml"])
    for arm in ARMS:
        print(f"\n== faces, {arm}", flush=True)
        lightning(["fit", "--config", f"configs/fer_{arm}.yaml", "--config", "configs/demo/faces.yaml"])
        lightning(["test", "--config", str(RunFolder(RUNS, "fer", arm, 0).config), "--ckpt_path", "best"])
    table = table_of_arms()
    closing = f"{time.perf_counter() - start:.0f} s in all; the runs are in {RUNS}/fer/<arm>/seed0"
    Console().print(table)
    print(closing)
    if given.readme:
        text = io.StringIO()
        Console(file=text, width=80).print(table)
        replace_block("demo", indented(text.getvalue() + closing))


def table_of_arms() -> Table:
    """Accuracy, macro-F1 and cost of the three arms, from their own files."""
    table = Table("arm", title="generated faces, test split", title_justify="left")
    for column in ("accuracy", "macro-F1", "trainable parameters", "seconds"):
        table.add_column(column, justify="right")
    for arm in ARMS:
        run = RunFolder(RUNS, "fer", arm, 0)
        record = run.record()
        scores = [f"{record['test'][name]:.3f}" for name in ("accuracy", "f1_macro")]
        table.add_row(arm, *scores, f"{record['trainable_parameters']:,}", f"{run.seconds():.0f}")
    return table


if __name__ == "__main__":
    main()

"""The tables of a study: one list of columns for Markdown, LaTeX and the page, and the blocks of the pages."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from basics.blocks import block_names, replace_block
from basics.errors import stop
from experiments.numbers import DASH, duration, flops, number
from experiments.results.records import ArmResult, Interval, StudyResults

Cell = Callable[[ArmResult], str]


@dataclass(frozen=True)
class Column:
    """One column of the tables of arms: a function for each table that has the column.

    Attributes:
        header: Header of the column.
        text: Makes the cell of an arm in Markdown and LaTeX.
        scores: Makes the cell in the page's table of scores, which shows intervals.
        cost: Makes the cell in the page's table of cost.
    """

    header: str
    text: Cell | None = None
    scores: Cell | None = None
    cost: Cell | None = None


def _mean(value: Interval | None) -> str:
    return f"{value.mean:.3f}" if value else DASH


def _whole(value: Interval | None) -> str:
    return str(value) if value else DASH


def _with_unit(value: float | None, unit: str, scale: float = 1.0) -> str:
    return DASH if value is None else f"{number(value / scale)} {unit}"


def score_column(header: str, score: Callable[[ArmResult], Interval | None]) -> Column:
    """Column of a score: the mean in Markdown and LaTeX, with its interval on the page."""
    return Column(header, text=lambda arm: _mean(score(arm)), scores=lambda arm: _whole(score(arm)))


# A column stands here and nowhere else; every table shows its columns in this order. Accuracy stands here twice because
# Markdown begins with it and the page with macro-F1.
COLUMNS: list[Column] = [
    Column("arm", text=lambda arm: arm.strategy),
    Column("accuracy", text=lambda arm: _mean(arm.accuracy)),
    Column("macro-F1", text=lambda arm: _whole(arm.f1_macro), scores=lambda arm: _whole(arm.f1_macro)),
    Column("accuracy", scores=lambda arm: _whole(arm.accuracy)),
    score_column("clean macro-F1", lambda arm: arm.clean and arm.clean.f1_macro),
    Column("clean accuracy", scores=lambda arm: _whole(arm.clean and arm.clean.accuracy)),
    Column("macro precision", scores=lambda arm: _whole(arm.precision_macro)),
    Column("macro recall", scores=lambda arm: _whole(arm.recall_macro)),
    score_column("ECE", lambda arm: arm.more_scores.get("ece")),
    Column("lr", cost=lambda arm: DASH if arm.lr is None else f"{arm.lr:.3g}"),
    Column(
        "trainable",
        text=lambda arm: f"{arm.cost.trainable:,}" if arm.cost else DASH,
        cost=lambda arm: number(arm.cost and arm.cost.trainable),
    ),
    Column("training TFLOPs", text=lambda arm: DASH if arm.operations is None else f"{arm.operations / 1e12:,.1f}"),
    Column("forward + backward", cost=lambda arm: flops(arm.operations)),
    Column("really computed", cost=lambda arm: flops(arm.cost and arm.cost.computed_flops)),
    Column("minutes", text=lambda arm: f"{arm.cost.seconds.mean / 60:.1f}" if arm.cost else DASH),
    Column("time a run", cost=lambda arm: duration(arm.cost and arm.cost.seconds.mean)),
    Column("images/s", cost=lambda arm: number(arm.cost and arm.cost.images_per_second)),
    Column("peak memory", cost=lambda arm: _with_unit(arm.cost and arm.cost.peak_memory_mb, "MB")),
    Column("energy", cost=lambda arm: _with_unit(arm.cost and arm.cost.energy_joules, "kJ", 1000)),
    Column("runs", text=lambda arm: str(len(arm.runs))),
    Column("letters", text=lambda arm: arm.letters),
]


def columns(table: Literal["text", "scores", "cost"]) -> dict[str, Cell]:
    """Functions that make the cells of a table, by header, in order."""
    return {column.header: cell for column in COLUMNS if (cell := getattr(column, table))}


def markdown(results: StudyResults) -> str:
    """The table of arms, a line that says how to read it, and F1 by class."""
    cells = columns("text")
    by_class = [[arm.strategy, *(_mean(value) for value in arm.per_class_f1.values())] for arm in results.arms]
    parts = [
        _markdown_table(list(cells), [[cell(arm) for cell in cells.values()] for arm in results.arms]),
        legend(results),
        _markdown_table(["F1", *results.arms[0].per_class_f1], by_class),
    ]
    return "\n\n".join(parts) + "\n"


def latex(results: StudyResults) -> str:
    """The table of arms for LaTeX with booktabs; letters are superscripts of macro-F1."""
    cells = columns("text")
    letters = cells.pop("letters")
    lines = []
    for arm in results.arms:
        row = {header: _escaped(cell(arm)) for header, cell in cells.items()}
        row["macro-F1"] += f"\\textsuperscript{{{_escaped(letters(arm))}}}"
        lines.append(" & ".join(row.values()) + r" \\")
    head = " & ".join(_escaped(header) for header in cells)
    frame = (r"\begin{tabular}{l" + "r" * (len(cells) - 1) + "}", r"\toprule", head + r" \\", r"\midrule")
    return "\n".join([f"% {legend(results)}", *frame, *lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def legend(results: StudyResults) -> str:
    """One line: the meaning of intervals and letters, and the images that clean scores leave out."""
    several = any(len(arm.runs) > 1 for arm in results.arms)
    says = ["Mean over runs [95 % t-interval]." if several else "One run an arm: no intervals over seeds."]
    if results.pairs:
        tests = "paired bootstrap over test images"
        if all(pair.seeds.p is not None for pair in results.pairs):
            tests += " and paired t over runs, the larger p"
        else:
            tests += "; seeds are not accounted for where two arms have one run in common"
        says.append(f"Arms that share a letter are not distinguishable in macro-F1 ({tests}, Holm at 0.05).")
    if rule := clean_rule(results):
        says.append(f"Clean: {rule}.")
    if any(arm.cost for arm in results.arms):
        says.append("TFLOPs: forward and backward of one run, 2 operations a multiply-add.")
    return " ".join(says)


def clean_rule(results: StudyResults) -> str:
    """The test images that clean scores leave out, and the number of images left; empty if there are no such scores."""
    clean = next((arm.clean for arm in results.arms if arm.clean), None)
    if clean is None:
        return ""
    left = f"{clean.images:,} images are left" if clean.left_out else "there are none"
    return f"{clean.rule} ({left})"


def refresh(out: Path) -> None:
    """Put `<out>/<study>.md` into the blocks `results-<study>` of the pages, and its first table into `arms-<study>`.

    Args:
        out: Folder of the results.

    Raises:
        SystemExit: A block has no end, or there is no block; one line says which.
    """
    names = [name for name in block_names() if name.startswith(("results-", "arms-"))]
    if not names:
        stop("no page has a line <!-- results-STUDY --> with a line <!-- /results-STUDY --> below it")
    for name in names:
        kind, _, study = name.partition("-")
        table = out / f"{study}.md"
        if table.is_file():
            parts = table.read_text().split("\n\n")
            replace_block(name, "\n\n".join(parts[:2] if kind == "arms" else parts))
        else:
            print(f"the block {name} stays as it is, there is no {table}: `make table-{study}` writes it")


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def _escaped(text: str) -> str:
    return re.sub(r"([&%#_$])", r"\\\1", text).replace(DASH, "--")

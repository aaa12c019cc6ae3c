"""results/<study>.json as the tables that people read: Markdown, LaTeX, and the blocks of the pages."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basics.blocks import block_names, replace_block
from basics.errors import stop

HEADER = (
    *("arm", "accuracy", "macro-F1", "clean macro-F1", "ECE", "trainable"),
    *("training TFLOPs", "minutes", "runs", "letters"),
)


def markdown(results: Mapping[str, Any]) -> str:
    """The table of arms, a line that says how to read it, and F1 by class."""
    classes = list(results["arms"][0]["per_class_f1"])
    parts = [
        _markdown_table(HEADER, [_row(arm) for arm in results["arms"]]),
        legend(results),
        _markdown_table(("F1", *classes), [_class_row(arm) for arm in results["arms"]]),
    ]
    return "\n\n".join(parts) + "\n"


def latex(results: Mapping[str, Any]) -> str:
    """The table of arms for LaTeX with booktabs; letters are superscripts of macro-F1."""
    lines = []
    for arm in results["arms"]:
        cells = [_escaped(cell) for cell in _row(arm)]
        cells[2] += f"\\textsuperscript{{{cells.pop()}}}"
        lines.append(" & ".join(cells) + r" \\")
    head = " & ".join(_escaped(name) for name in HEADER[:-1])
    frame = (r"\begin{tabular}{l" + "r" * (len(HEADER) - 2) + "}", r"\toprule", head + r" \\", r"\midrule")
    return "\n".join([f"% {legend(results)}", *frame, *lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def legend(results: Mapping[str, Any]) -> str:
    """One line: what intervals and letters mean, and which images clean is without."""
    several = any(len(arm["runs"]) > 1 for arm in results["arms"])
    says = ["Mean over runs [95 % t-interval]." if several else "One run an arm: no intervals over seeds."]
    if results["pairs"]:
        both = all(pair["seeds"]["p"] is not None for pair in results["pairs"])
        tests = (
            "paired bootstrap over test images and paired t over runs, the larger p"
            if both
            else (
                "paired bootstrap over test images; seeds are not accounted for where two arms have one run in common"
            )
        )
        says.append(f"Arms that share a letter are not distinguishable in macro-F1 ({tests}, Holm at 0.05).")
    rule = clean_rule(results)
    if rule:
        says.append(f"Clean: {rule}.")
    if any(arm["cost"] for arm in results["arms"]):
        says.append("TFLOPs: forward and backward of one run, 2 operations a multiply-add.")
    return " ".join(says)


def clean_rule(results: Mapping[str, Any]) -> str:
    """Which test images the clean scores are without, and how many are left; empty where there are no such scores."""
    clean = next((arm["clean"] for arm in results["arms"] if arm["clean"]), None)
    if clean is None:
        return ""
    left = f"{clean['images']:,} images are left" if clean["left_out"] else "there are none"
    return f"{clean['rule']} ({left})"


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


def _row(arm: Mapping[str, Any]) -> list[str]:
    cost, clean = arm["cost"] or {}, arm["clean"] or {}
    operations = [cost[key] for key in ("forward_flops", "backward_flops") if cost and cost[key] is not None]
    return [
        arm["strategy"],
        f"{arm['accuracy']['mean']:.3f}",
        _score(arm["f1_macro"]),
        f"{clean['f1_macro']['mean']:.3f}" if clean else "–",
        f"{arm['ece']['mean']:.3f}",
        f"{cost['trainable']:,}" if cost else "–",
        f"{sum(operations) / 1e12:,.1f}" if len(operations) == 2 else "–",
        f"{cost['seconds']['mean'] / 60:.1f}" if cost else "–",
        str(len(arm["runs"])),
        arm["letters"],
    ]


def _class_row(arm: Mapping[str, Any]) -> list[str]:
    return [arm["strategy"], *(f"{value['mean']:.3f}" for value in arm["per_class_f1"].values())]


def _score(value: Mapping[str, Any]) -> str:
    if not value["ci95"]:
        return f"{value['mean']:.3f}"
    low, high = value["ci95"]
    return f"{value['mean']:.3f} [{low:.3f}, {high:.3f}]"


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def _escaped(text: str) -> str:
    return re.sub(r"([&%#_$])", r"\\\1", text).replace("–", "--")

"""The picture of a confusion matrix."""

import io
from collections.abc import Sequence


def draw_confusion_matrix(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> bytes:
    """Draw a confusion matrix as a PNG: the colour is the fraction of the true class, the text the count.

    Args:
        matrix: Counts; a row is a true class, a column a predicted one.
        names: Names of the classes in label order.
    """
    from matplotlib.figure import Figure

    size = max(4.0, 0.75 * len(names) + 1.8)
    figure = Figure((size, size), layout="constrained")
    axes = figure.add_subplot()
    fractions = [[count / max(1, sum(row)) for count in row] for row in matrix]
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(matrix):
        for j, count in enumerate(row):
            colour = "white" if fractions[i][j] > 0.5 else "black"
            axes.text(j, i, f"{count}\n{fractions[i][j]:.0%}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true")
    png = io.BytesIO()
    figure.savefig(png, dpi=110)
    return png.getvalue()

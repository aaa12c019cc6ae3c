"""How numbers are written: scores, p-values, operations, durations. A dash stands for a number that is not known."""

DASH = "–"


def score(mean: float, ci95: tuple[float, float] | None = None) -> str:
    """`0.516 [0.498, 0.534]`; the mean alone if there is no interval."""
    return f"{mean:.3f}" + (f" [{ci95[0]:.3f}, {ci95[1]:.3f}]" if ci95 else "")


def signed(value: float | None) -> str:
    """`+0.015`, with a real minus sign."""
    return DASH if value is None else f"{value:+.3f}".replace("-", "−")


def probability(value: float | None) -> str:
    """P-value as a cell of a table: `0.023`, `< 0.001`."""
    if value is None:
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_value(value: float) -> str:
    """P-value in a sentence: `p = 0.023`, `p < 0.001`."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def number(value: float | None) -> str:
    """`11.2 M`, `3,591`, `0.25`."""
    if value is None:
        return DASH
    if value >= 1e6:
        return f"{value / 1e6:,.1f} M"
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def flops(value: float | None) -> str:
    """`1.2 PFLOPs`."""
    if not value:
        return DASH
    units = ((1e15, "P"), (1e12, "T"), (1e9, "G"))
    scale, prefix = next((unit for unit in units if value >= unit[0]), (1, ""))
    return f"{value / scale:.3g} {prefix}FLOPs"


def duration(seconds: float | None) -> str:
    """Measured time: `48.2 s`, `9.3 min`, `2.1 h`."""
    if seconds is None:
        return DASH
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

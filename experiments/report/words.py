"""What the report says in words: the headline of a study, and numbers as one reads them."""

from collections.abc import Mapping, Sequence
from typing import Any


def headline(results: Mapping[str, Any]) -> list[str]:
    """Which arm is best or what cannot be told apart, by how much, at what cost, in sentences."""
    arms = sorted(results["arms"], key=lambda arm: -arm["f1_macro"]["mean"])
    best, others = arms[0], arms[1:]
    name, f1 = best["strategy"], score(best["f1_macro"])
    runs = len(best["runs"])
    if not others:
        sentences = [f"{name} reaches macro-F1 {f1} and accuracy {score(best['accuracy'])}."]
    else:
        pairs = [(arm, _pair(results, name, arm["strategy"])) for arm in others]
        tied = [arm for arm, pair in pairs if pair is None or not pair["distinguishable"]]
        if tied:
            names = _listed([arm["strategy"] for arm in tied])
            sentences = [f"{name} has the highest macro-F1, {f1}, but cannot be told apart from {names}."]
        else:
            sentences = [f"{name} is best: macro-F1 {f1}, {_above(pairs[0])}."]
        apart = [pair for pair in pairs if pair[0] not in tied]
        if tied and apart:
            sentences.append(f"It is {_above(apart[0])}" + (f", and {_above(apart[-1])}." if apart[1:] else "."))
        elif apart[1:]:
            sentences.append(f"It is {_above(apart[-1])}, the lowest.")
        sentences.append(_cost_sentence(best, tied, others))
    clean = best.get("clean")
    if clean and clean["left_out"]:
        by = clean["f1_macro"]["mean"] - best["f1_macro"]["mean"]
        rule = clean["rule"][0].upper() + clean["rule"][1:]
        sentences.append(f"{rule}, {name} has {clean['f1_macro']['mean']:.3f} ({signed(by)}).")
    if runs == 1:
        sentences.append("One run an arm: the differences between seeds are not measured.")
    return [sentence for sentence in sentences if sentence]


def _cost_sentence(best: Mapping[str, Any], tied: Sequence[Mapping[str, Any]], others: Sequence[Any]) -> str:
    known = [arm for arm in (best, *tied) if flops_of(arm)]
    if not known or not flops_of(best):
        return ""
    name, spent = best["strategy"], f"{flops(flops_of(best))} and {duration(plain(best['cost']['seconds']))} a run"
    cheapest = min(known, key=flops_of)
    if tied and cheapest is not best:
        share = f"{flops_of(cheapest) / flops_of(best):.0%}"
        return (
            f"Of these, {cheapest['strategy']} is the cheapest, with {share} of the operations: {name} takes {spent}."
        )
    low = min((arm for arm in others if flops_of(arm)), key=flops_of, default=best)
    ratio = flops_of(best) / flops_of(low)
    if ratio <= 1:
        return f"It is also the cheapest, with {spent}."
    return f"It takes {spent}, {ratio:.1f} times the operations of {low['strategy']}, the cheapest of the others."


def _above(found: tuple[Mapping[str, Any], Mapping[str, Any] | None]) -> str:
    arm, pair = found
    assert pair is not None
    sign = 1 if pair["b"] == arm["strategy"] else -1
    low, high = sorted(sign * bound for bound in pair["ci95"])
    return f"{sign * pair['difference']:.3f} [{low:.3f}, {high:.3f}] above {arm['strategy']}"


def _pair(results: Mapping[str, Any], a: str, b: str) -> Any:
    return next((pair for pair in results["pairs"] if {pair["a"], pair["b"]} == {a, b}), None)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def plain(value: Any) -> Any:
    """A number, also where it is given as {"mean": number, ...}."""
    return value.get("mean") if isinstance(value, Mapping) else value


def flops_of(arm: Mapping[str, Any]) -> float:
    """Forward and backward operations of a run, 0 where they are not known."""
    cost = arm.get("cost") or {}
    return (plain(cost.get("forward_flops")) or 0.0) + (plain(cost.get("backward_flops")) or 0.0)


def interval(value: Mapping[str, Any] | None) -> tuple[float, float] | None:
    """The 95 % interval, None where there is none (one run)."""
    bounds = (value or {}).get("ci95")
    return None if not bounds or None in bounds else (bounds[0], bounds[1])


def score(value: Mapping[str, Any] | None) -> str:
    """`0.516 [0.498, 0.534]`."""
    if not value or value.get("mean") is None:
        return "–"
    bounds = interval(value)
    return f"{value['mean']:.3f}" + (f" [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else "")


def signed(value: float | None) -> str:
    """`+0.015`, with a real minus sign."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def probability(value: float | None) -> str:
    """A p-value."""
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def number(value: Any) -> str:
    """`11.2 M`, `3,591`; a dash where there is none."""
    value = plain(value)
    if value is None:
        return "–"
    return f"{value / 1e6:,.1f} M" if value >= 1e6 else f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def flops(value: Any) -> str:
    """`1.2 PFLOPs`."""
    value = plain(value)
    if not value:
        return "–"
    scale, name = next((each for each in ((1e15, "P"), (1e12, "T"), (1e9, "G")) if value >= each[0]), (1, ""))
    return f"{value / scale:.3g} {name}FLOPs"


def duration(value: Any) -> str:
    """`48 s`, `9.3 min`, `2.1 h`."""
    value = plain(value)
    if value is None:
        return "–"
    return f"{value:.3g} s" if value < 120 else f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"

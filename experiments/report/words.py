"""The headline of a study in sentences: the best arm, the arms that cannot be told apart from it, gain and cost."""

from collections.abc import Sequence

from experiments.numbers import duration, flops, signed
from experiments.results.records import ArmResult, Pair, StudyResults


def headline(results: StudyResults) -> list[str]:
    """Sentences on the best arm, the arms that cannot be told apart from it, and its cost."""
    best, *others = sorted(results.arms, key=lambda arm: -arm.f1_macro.mean)
    name = best.strategy
    if others:
        pairs = [(arm, _pair(results, name, arm.strategy)) for arm in others]
        apart = [(arm, pair) for arm, pair in pairs if pair and pair.distinguishable]
        tied = [arm for arm, pair in pairs if not (pair and pair.distinguishable)]
        sentences = [*_lead(best, tied, apart), _cost_sentence(best, tied, others)]
    else:
        sentences = [f"{name} reaches macro-F1 {best.f1_macro} and accuracy {best.accuracy}."]
    if best.clean and best.clean.left_out:
        gain = best.clean.f1_macro.mean - best.f1_macro.mean
        rule = best.clean.rule[0].upper() + best.clean.rule[1:]
        sentences.append(f"{rule}, {name} has {best.clean.f1_macro.mean:.3f} ({signed(gain)}).")
    if len(best.runs) == 1:
        sentences.append("One run an arm: the differences between seeds are not measured.")
    return [sentence for sentence in sentences if sentence]


def _lead(best: ArmResult, tied: Sequence[ArmResult], apart: Sequence[tuple[ArmResult, Pair]]) -> list[str]:
    """Sentences on the arms that the best one is above, and on those that it cannot be told apart from."""
    name = best.strategy
    above = [_above(arm, pair) for arm, pair in apart]
    if not tied:
        first = f"{name} is best: macro-F1 {best.f1_macro}, {above[0]}."
        return [first, f"It is {above[-1]}, the lowest."] if above[1:] else [first]
    names = _listed([arm.strategy for arm in tied])
    first = f"{name} has the highest macro-F1, {best.f1_macro}, but cannot be told apart from {names}."
    if not above:
        return [first]
    return [first, f"It is {above[0]}" + (f", and {above[-1]}." if above[1:] else ".")]


def _cost_sentence(best: ArmResult, tied: Sequence[ArmResult], others: Sequence[ArmResult]) -> str:
    if not best.operations or best.cost is None:
        return ""
    spent = f"{flops(best.operations)} and {duration(best.cost.seconds.mean)} a run"
    cheapest = _cheapest([best, *tied])
    if tied and cheapest is not best:
        share = f"{(cheapest.operations or 0) / best.operations:.0%}"
        return (
            f"Of these, {cheapest.strategy} is the cheapest, with {share} of the operations: "
            f"{best.strategy} takes {spent}."
        )
    low = _cheapest([arm for arm in others if arm.operations] or [best])
    ratio = best.operations / (low.operations or best.operations)
    if ratio <= 1:
        return f"It is also the cheapest, with {spent}."
    return f"It takes {spent}, {ratio:.1f} times the operations of {low.strategy}, the cheapest of the others."


def _cheapest(arms: Sequence[ArmResult]) -> ArmResult:
    return min((arm for arm in arms if arm.operations), key=lambda arm: arm.operations or 0)


def _above(arm: ArmResult, pair: Pair) -> str:
    sign = 1 if pair.b == arm.strategy else -1
    low, high = sorted(sign * bound for bound in pair.ci95)
    return f"{sign * pair.difference:.3f} [{low:.3f}, {high:.3f}] above {arm.strategy}"


def _pair(results: StudyResults, a: str, b: str) -> Pair | None:
    return next((pair for pair in results.pairs if {pair.a, pair.b} == {a, b}), None)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

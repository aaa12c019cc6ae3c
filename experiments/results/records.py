"""The content of results/<study>.json: `write` makes these records, the tables and the report read them.

A record refuses a value of another type, a number that is not finite, and a key that it does not name.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from basics.errors import stop
from basics.files import write_json
from experiments import numbers

Bounds = Annotated[tuple[float, float], Field(strict=False)]  # JSON has lists only
Probability = Annotated[float, Field(ge=0, le=1)]
Answer = Literal["supported", "refuted", "open (not distinguishable)", "open (not tested)"]


class Record(BaseModel):
    """A part of the results."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Interval(Record):
    """A score over the runs of an arm.

    Attributes:
        mean: Mean over runs.
        std: Standard deviation over runs (n - 1); None for one run.
        ci95: 95 % t-interval of the mean over runs (Student's t, n - 1); None for one run.
    """

    mean: float
    std: float | None
    ci95: Bounds | None

    def __str__(self) -> str:
        return numbers.score(self.mean, self.ci95)


class RunEntry(Record):
    """A run that counts.

    Attributes:
        seed: Seed of everything random.
        fold: Fold of the data; 0 for data without folds.
        folder: Path of its folder below the folder of all runs.
        commit: Commit of the code that trained it.
    """

    seed: int
    fold: int
    folder: str
    commit: str | None


class LrTrial(Record):
    """A learning rate that was tried on validation, in one run.

    Attributes:
        lr: Learning rate.
        val_f1_macro: Best validation macro-F1 of the run.
    """

    lr: float
    val_f1_macro: float


@final
class Clean(Record):
    """Scores without test images that training may have shown.

    Attributes:
        rule: Rule by which images are left out.
        images: Number of images that are left in a test set, mean over runs.
        left_out: Number of images that are left out, mean over runs; 0 if no test image is known from training.
        accuracy: Accuracy on the images that are left.
        f1_macro: Macro-F1 on them.
    """

    rule: str
    images: Annotated[int, Field(ge=1)]
    left_out: Annotated[float, Field(ge=0)]
    accuracy: Interval
    f1_macro: Interval


class Seconds(Record):
    """Time of training with validation.

    Attributes:
        mean: Seconds of a run, mean over runs.
        std: Standard deviation over runs; None for one run.
    """

    mean: float
    std: float | None


@final
class Cost(Record):
    """Cost of one run, mean over runs.

    Attributes:
        trainable: Number of parameters that learn, in the phase with the most.
        forward_flops: Operations of all forward passes in training as the strategy defines them: 2 a multiply-add,
            nothing cached.
        backward_flops: Operations of the backward passes.
        computed_flops: Operations of both that were really computed; cached features save the others.
        seconds: Time of training with validation.
        images_per_second: Training images by seconds of training.
        peak_memory_mb: Highest memory of all runs, in MB.
        energy_joules: Energy of the GPU in joules; None if it cannot be read.
    """

    trainable: Annotated[int, Field(ge=0)]
    forward_flops: float | None
    backward_flops: float | None
    computed_flops: float | None
    seconds: Seconds
    images_per_second: float | None
    peak_memory_mb: float | None
    energy_joules: float | None

    @property
    def operations(self) -> float | None:
        """Forward and backward operations of a run; None if one of them is not known."""
        if self.forward_flops is None or self.backward_flops is None:
            return None
        return self.forward_flops + self.backward_flops


class ArmResult(Record):
    """One strategy.

    Attributes:
        strategy: Name of the arm.
        letters: Compact letter display: arms that share a letter are not distinguishable; the best arm has an a.
        runs: Every run that counts.
        lr: Learning rate of the head.
        lr_trials: Learning rates that were tried; empty if none were.
        accuracy: Test accuracy.
        precision_macro: Test macro precision.
        recall_macro: Test macro recall.
        f1_macro: Test macro-F1; a class that does not occur counts as 0.
        more_scores: Every other score of the test by name, such as ece. In the file they are keys of the arm itself.
        per_class_f1: Test F1 by the name of the class, in class order.
        clean: Scores without test images that training may have shown; None if a run has none.
        cost: Cost of a run; None if a run has no ledger.
    """

    strategy: str
    letters: Annotated[str, Field(min_length=1)]
    runs: Annotated[list[RunEntry], Field(min_length=1)]
    lr: float | None
    lr_trials: list[LrTrial]
    accuracy: Interval
    precision_macro: Interval
    recall_macro: Interval
    f1_macro: Interval
    more_scores: dict[str, Interval]
    per_class_f1: Annotated[dict[str, Interval], Field(min_length=2)]
    clean: Clean | None
    cost: Cost | None

    @model_validator(mode="before")
    @classmethod
    def _collect(cls, content: Any) -> Any:
        """Read keys that are no field as scores."""
        if not isinstance(content, dict) or "more_scores" in content:
            return content
        more = {key: value for key, value in content.items() if key not in cls.model_fields}
        return {key: value for key, value in content.items() if key not in more} | {"more_scores": more}

    @property
    def operations(self) -> float | None:
        """Forward and backward operations of a run; None if they are not known."""
        return self.cost.operations if self.cost else None


class SeedTest(Record):
    """Paired t-test of a contrast over the common runs.

    Attributes:
        difference: Mean over common runs.
        ci95: 95 % interval of the mean; None for one run.
        p: Two-sided p; None for one run.
    """

    difference: float
    ci95: Bounds | None
    p: Probability | None


class AccuracyTest(Record):
    """Exact McNemar test.

    Attributes:
        difference: Difference of test accuracy, mean over common runs.
        p: Two-sided p; of several runs twice the mean of their p, at most 1 (Vovk & Wang 2020).
    """

    difference: float
    p: Probability


class Contrast(Record):
    """A difference, tested for both sources of chance.

    Attributes:
        difference: Mean over common runs.
        ci95: 95 % percentile interval: paired bootstrap over test images, all arms on the same resamples.
        p: The larger of p_images and seeds.p, since both sources of chance must be excluded; p_images for one run.
        p_images: Two-sided p of the bootstrap over test images.
        runs: Number of common runs.
        seeds: Paired t-test over the common runs.
    """

    difference: float
    ci95: Bounds
    p: Probability
    p_images: Probability
    runs: Annotated[int, Field(ge=1)]
    seeds: SeedTest


class Pair(Contrast):
    """Macro-F1 of one arm minus that of another, over the seeds and folds that both have.

    Attributes:
        a: First arm.
        b: Second arm.
        accuracy: Exact McNemar test of accuracy.
        p_holm: `p`, corrected for the number of pairs of the study (Holm 1979).
        distinguishable: True if p_holm is below 0.05.
    """

    a: str
    b: str
    accuracy: AccuracyTest
    p_holm: Probability
    distinguishable: bool


class Verdict(Record):
    """A statement of the original study, checked.

    Attributes:
        statement: The statement in words.
        verdict: Answer of the runs.
        evidence: The numbers that decide.
    """

    statement: str
    verdict: Answer
    evidence: str


class Provenance(Record):
    """How the numbers were made.

    Attributes:
        command: Command that writes them anew.
        date: Time at which they were written, UTC.
        commits: Commits of the code that trained the runs.
        dirty: True if a run was trained with changes that no commit has.
        versions: Versions of the libraries that trained the runs; one entry if all runs agree.
        statistics_versions: Versions of the libraries that computed the statistics.
        backbones: Backbones of the runs.
        weights: Weights that training began with: a tag of timm's, or the name of a file.
        data_fingerprints: By fold; changes if the index of an image, a label or a split changes.
        test_images: Number of test images over all folds.
        budget: What the arms share; None if experiments.table did not make the runs.
        resamples: Number of resamples of the bootstrap.
        level: Level of all tests, which is 1 minus the confidence of all intervals.
        settings: Values of config.yaml that all runs share, by key; paths are file names.
    """

    command: str
    date: str
    commits: list[str | None]
    dirty: bool
    versions: list[dict[str, str]]
    statistics_versions: dict[str, str]
    backbones: list[str | None]
    weights: list[str | None]
    data_fingerprints: dict[str, str]
    test_images: Annotated[int, Field(ge=1)]
    budget: Literal["epochs", "steps", "cost"] | None
    resamples: Annotated[int, Field(ge=1)]
    level: float
    settings: dict[str, Any]


class StudyResults(Record):
    """Results of a study.

    Attributes:
        study: Name of the study.
        arms: The arms in the order of all tables.
        pairs: All pairs of arms with a common run.
        hypotheses: Statements of the original study, checked.
        provenance: How the numbers were made.
    """

    study: str
    arms: Annotated[list[ArmResult], Field(min_length=1)]
    pairs: list[Pair]
    hypotheses: list[Verdict]
    provenance: Provenance


def save(path: Path, results: StudyResults) -> None:
    """Write results as JSON, keys in the order in which one reads them."""
    content = results.model_dump()
    content["arms"] = [_flat(arm) for arm in content["arms"]]
    content["pairs"] = [{"a": pair["a"], "b": pair["b"]} | pair for pair in content["pairs"]]
    write_json(path, content)


def load(path: Path) -> StudyResults:
    """Read results.

    Raises:
        SystemExit: Something does not fit; one line names the file and the key.
    """
    try:
        return StudyResults.model_validate_json(path.read_bytes())
    except ValidationError as error:
        stop(f"{path}: {problem(error)}")


def load_all(folder: Path) -> list[StudyResults]:
    """Read the results of every study, in the order of their names; JSON files without arms are none."""
    return [load(path) for path in sorted(folder.glob("*.json")) if b'"arms"' in path.read_bytes()]


def problem(error: ValidationError) -> str:
    """Key and reason of the first value that does not fit."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or error.title}: {first['msg']}"


def _flat(arm: dict[str, Any]) -> dict[str, Any]:
    """Put an arm's further scores where the file has them: between its other keys."""
    flat: dict[str, Any] = {}
    for key, value in arm.items():
        flat |= value if key == "more_scores" else {key: value}
    return flat

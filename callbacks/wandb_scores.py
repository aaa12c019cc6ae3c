"""The scores of a test in W&B."""

from collections.abc import Sequence

from lightning.pytorch.loggers import WandbLogger

from classification import Scores


def log_scores(logger: WandbLogger, total: Scores, names: Sequence[str]) -> None:
    """Log the scores of every class and the confusion matrix.

    Args:
        logger: Logger of the run.
        total: Scores of the test split.
        names: Names of the classes in label order.
    """
    import wandb

    # wandb's chart takes one entry a sample; the matrix says how often each pair occurs.
    pairs = [(i, j) for i, row in enumerate(total.confusion_matrix) for j, n in enumerate(row) for _ in range(n)]
    chart = wandb.plot.confusion_matrix(
        y_true=[true for true, _ in pairs], preds=[predicted for _, predicted in pairs], class_names=names
    )
    rows = [list(row) for row in total.by_class(names)]
    table = wandb.Table(columns=["class", "precision", "recall", "f1", "images"], data=rows)
    # Beside the table as numbers, because W&B averages numbers over seeds.
    scores = {f"test/f1/{name}": f1 for name, f1 in zip(names, total.f1, strict=True)}
    logger.experiment.log({"test/per_class": table, "test/confusion_matrix": chart, **scores})

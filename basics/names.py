"""Names that several packages must spell alike."""

MONITOR = "val/f1_macro"  # chooses the best checkpoint; a plateau is a plateau of it

# Files of a run's folder. Callbacks write them, experiments/runs.py finds them.
CONFIG = "config.yaml"
FIT_END = "fit.json"
EPOCHS = "metrics.csv"
COST = "cost.json"
SCORES = "metrics.json"
ANSWERS = "test.npz"
MISTAKES = "mistakes.json"
CONFUSION = "confusion_matrix.png"
PREDICTIONS = "predictions.csv"
CHECKPOINTS = "checkpoints"

TABLE = "table.json"  # in the folder of a study: the runs that a table has, and what they share

"""The command line: `lightning fit|validate|test|predict|plan|probe --config configs/fer_full.yaml`.

Torch and Lightning take seconds to import, so nothing here imports them before it is known that they are needed.
"""

import logging
import os
import sys
import warnings
from collections.abc import Sequence

from experiments.cli.arguments import check_configs, check_subcommand

SUBCOMMANDS = {
    "fit": "train; keeps the best and the last checkpoint",
    "validate": "score a checkpoint on the validation split",
    "test": "score a checkpoint on the test split; writes metrics.json and the confusion matrix",
    "predict": "classify the test split or a folder of images; writes predictions.csv",
    "plan": "print what will learn when, at which learning rate and cost; nothing is loaded or trained",
    "probe": "score a linear classifier on the features after every stage of the pretrained network",
}
HELP = """\
usage: lightning SUBCOMMAND --config FILE [--config FILE ...] [--OPTION VALUE ...]

{subcommands}

examples:
  lightning fit --config configs/fer_full.yaml --model.lr 1e-4 --trainer.max_epochs 3
  lightning test --config runs/fer/full/seed0/config.yaml --ckpt_path best

All options, with their defaults: lightning fit --help. Those of a class: lightning fit --model.help CLASS, and
--data.help. README.md and docs/ say the rest."""


def quieten() -> None:
    """Silence what says nothing about this run; everything else a library has to say is shown."""
    for message in (
        "does not have many workers",  # 0 is right for mapped images
        "args parameter is intended to run from within Python",
        "smaller than the logging interval",  # all values are logged by epoch
        "LeafSpec",  # inside Lightning
        "in eval mode at the start of training",  # frozen stages
        "exists and is not empty",  # a resumed run
        "callbacks used to create the checkpoint",  # those of training, in a test
        "The dirpath has changed",  # of checkpoints, in a test
        "skip_none parameter was deprecated",  # inside Lightning
    ):
        warnings.filterwarnings("ignore", message=f"(?s).*{message}")
    for name in (
        "lightning.pytorch.utilities.rank_zero",
        "lightning.pytorch.trainer.connectors.logger_connector.logger_connector",
    ):
        logging.getLogger(name).addFilter(lambda record: "litlogger" not in record.getMessage())


def main(args: Sequence[str] | None = None) -> None:
    """Run a command line; what is wrong with it without a look at the parser is said before the parser is imported."""
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        subcommands = "\n".join(f"  {name:<10}{line}" for name, line in SUBCOMMANDS.items())
        print(HELP.format(subcommands=subcommands), file=sys.stdout if args else sys.stderr)
        sys.exit(0 if args else 2)
    check_subcommand(args[0], SUBCOMMANDS)
    check_configs(args)
    from experiments.cli.commands import run

    quieten()
    sys.path.append(os.getcwd())  # for classes that a config names, as with python -m
    run(args)

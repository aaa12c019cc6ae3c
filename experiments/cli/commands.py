"""The subcommands of `lightning`, on top of LightningCLI. To import this module takes seconds."""

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
import yaml
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import callbacks
import fashion_cnn  # noqa: F401  (makes its classes known by their short names)
import transfer
from basics.errors import UserError, one_line_mistakes
from basics.files import write_file
from basics.names import MONITOR, PREDICTIONS
from callbacks.files import AtomicCheckpointIO, is_dev_run
from classification import Classifier, phase_ends
from datamodules import ImageDataModule
from experiments.cli.checkpoints import check_resumes, from_checkpoint, provenance, read_checkpoint
from experiments.cli.parser import Parser
from experiments.cli.run_options import RunOptions, find_checkpoint, owner
from experiments.cli.trainer import DEFAULTS, Trainer
from experiments.runs import RunFolder
from experiments.tracking.wandb_logger import finish_wandb, log_cost, wandb_logger


class SaveConfig(SaveConfigCallback):
    """Writes config.yaml once training really starts, so that a run that failed before leaves no folder behind."""

    def __init__(self, *args: Any, folder: RunFolder, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.folder = folder

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Nothing yet."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the file and give the same to the logger (rank 0)."""
        if not trainer.is_global_zero:
            return
        # Running the file again shall neither resume nor remove this run.
        self.config = self.config.clone()
        self.config.ckpt_path = None
        self.config.run.overwrite = False
        # One file with every value, also those that came from a file of their own (`data: data/fer.yaml`).
        write_file(self.folder.config, self.parser.dump(self.config, skip_unset=False))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                write_file(self.folder.wandb_id, logger.experiment.id)
            logger.log_hyperparams(json.loads(self.parser.dump(self.config, format="json", skip_unset=False)))


class CLI(LightningCLI):
    """LightningCLI with run folders, exact evaluation and errors of one line.

    Raises:
        UserError: A mistake in the command line, or options that Lightning refuses: a device that is not there, fewer
            epochs than a checkpoint has.
    """

    def __init__(self, args: Sequence[str]) -> None:
        try:
            super().__init__(
                Classifier,
                ImageDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                trainer_class=Trainer,
                parser_class=Parser,
                save_config_callback=SaveConfig,
                trainer_defaults=DEFAULTS,
                seed_everything_default=0,
                auto_configure_optimizers=False,
                args=list(args),
            )
        except MisconfigurationException as error:
            raise UserError(str(error)) from error

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of the run; the class names come from the data."""
        parser.add_class_arguments(RunOptions, "run")
        parser.link_arguments("data.class_names", "model.init_args.class_names", apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Nothing: what is typed counts. Lightning would let the checkpoint's arguments win over it."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """As Lightning's, `plan` and `probe`; `test` has a table of its own, so that `verbose` has nothing to say."""
        commands = LightningCLI.subcommands()
        own = {"model", "datamodule"}
        return commands | {"test": commands["test"] | {"verbose"}, "plan": own, "probe": own}

    def test(self, **kwargs: Any) -> None:
        """Test; TestReport prints and writes the scores."""
        self.trainer.test(verbose=False, **kwargs)

    @property
    def command(self) -> Any:
        """Parsed values of the subcommand, as objects."""
        return self.config_init[self.subcommand]

    @property
    def resolved(self) -> dict[str, Any]:
        """Values of the subcommand as config.yaml holds them, defaults included."""
        text = self._parser(self.subcommand).dump(self.config[self.subcommand], skip_unset=False)
        values: dict[str, Any] = yaml.safe_load(text)
        return values

    def before_instantiate_classes(self) -> None:
        """Import what the model will ask for."""
        if self.config[self.subcommand].model.class_path.startswith("transfer."):
            import_timm()

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Settle the run's folder first; callbacks and logger write there.

        Raises:
            UserError: The run must not write there.
        """
        options: RunOptions = self.command.run
        trainer = self.command.trainer
        fits = self.subcommand == "fit"
        self.folder = options.folder(self.datamodule, self.model, self.config[self.subcommand].seed_everything)
        trained: Mapping[str, Any] = {}
        if self.command.get("ckpt_path") is not None:
            trained = self._settle_checkpoint(fits)
        if fits and not trainer.fast_dev_run:
            options.claim(self.folder, resumes=self.command.ckpt_path is not None)
        if trainer.logger in (None, True) and self.subcommand in ("fit", "test") and not trainer.fast_dev_run:
            kwargs["logger"] = wandb_logger(self.folder)
        elif trainer.logger is None:
            kwargs["logger"] = False
        kwargs["default_root_dir"] = trainer.default_root_dir or str(self.folder.path)
        kwargs["enable_checkpointing"] = True  # for Lightning EpochTable is one; the others depend on the option
        self.save_config_kwargs = {"folder": self.folder}
        self.trainer_defaults = {**DEFAULTS, "callbacks": self._callbacks(trained)}
        return super().instantiate_trainer(**kwargs)

    def _settle_checkpoint(self, fits: bool) -> Mapping[str, Any]:
        """Find the checkpoint, check that it may be resumed, and give the record of the run it belongs to."""
        path = find_checkpoint(self.folder, self.command.ckpt_path)
        self.command.ckpt_path = str(path)
        checkpoint = read_checkpoint(path)
        if fits:
            check_resumes(path, checkpoint, self.folder, self.resolved)
        trained: Mapping[str, Any] = checkpoint["callbacks"].get("Provenance", {})
        self.folder = owner(self.folder, path, trained)
        return trained

    def _callbacks(self, trained: Mapping[str, Any]) -> list[Callback]:
        identity = {
            "study": self.folder.study,
            "strategy": self.folder.strategy,
            "seed": self.folder.seed,
            "fold": self.folder.fold,
            "backbone": getattr(self.model, "backbone", None),
            "weights": getattr(self.model, "weights", None),
        }
        if self.subcommand == "fit":
            return self._fit_callbacks({**identity, **provenance()})
        if self.subcommand == "predict":
            return [callbacks.PredictionWriter(self._predictions_file())]
        if self.subcommand == "test":
            record = {**(trained or identity), "checkpoint": self.command.ckpt_path, "tested_with": provenance()}
            return [callbacks.TestReport(self.folder.path, record)]
        return []

    def _fit_callbacks(self, record: Mapping[str, Any]) -> list[Callback]:
        found: list[Callback] = [
            callbacks.PlanTable(),
            callbacks.Provenance(record),
            callbacks.FitEnding(self.folder.fit_end),
            callbacks.EpochTable(self.folder.epochs),
            callbacks.CostLedger(self.folder.cost),
        ]
        if self.command.trainer.enable_checkpointing is not False:
            folder = self.folder.checkpoints
            checkpoint = partial(ModelCheckpoint, folder, save_on_train_epoch_end=True, enable_version_counter=False)
            self.best = checkpoint(filename="best", monitor=MONITOR, mode="max")
            # Not `save_last` of the one above: that follows the best, so that a run that has stopped improving would
            # be resumed from its best epoch.
            found += [self.best, checkpoint(filename="last")]
            if self.command.run.every_n_train_steps:
                found.append(callbacks.StepCheckpoint(folder, self.command.run.every_n_train_steps))
        return found

    def _predictions_file(self) -> Path:
        if self.command.run.predictions:
            return Path(self.command.run.predictions)
        images = self.datamodule.predict_folder
        return self.folder.path / (f"predictions-{images.resolve().name}.csv" if images else PREDICTIONS)

    def before_fit(self) -> None:
        """Refuse a plan that does not fit, and get the pretrained weights, before anything is written or decoded."""
        if type(self.trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            self.trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        epochs = self.trainer.max_epochs
        if epochs and epochs > 0 and not is_dev_run(self.trainer):
            phase_ends(self.model.phases, epochs)
        if self.command.ckpt_path is None and isinstance(self.model, transfer.TransferClassifier):
            self.model.load_pretrained()

    def after_fit(self) -> None:
        """Close with the line that tests the best checkpoint."""
        log_cost(self.trainer.loggers, self.folder)
        shown = self.trainer.is_global_zero and not self.trainer.interrupted and not is_dev_run(self.trainer)
        if shown and self.folder.best.is_file():
            print(f"\nbest {MONITOR}: {self.best.best_model_score:.4f}; test it once, with\n")
            print(f"  lightning test --config {self.folder.config} --ckpt_path {self.folder.best}\n", flush=True)

    def after_test(self) -> None:
        """Log the cost beside the scores: the part of the W&B run that has the scores plots one against the other."""
        log_cost(self.trainer.loggers, self.folder)

    def _run_subcommand(self, subcommand: str) -> None:
        """Run the subcommand.

        Raises:
            UserError: Scores or predictions without a trained model.
        """
        if subcommand in ("validate", "test", "predict") and self.command.ckpt_path is None:
            raise UserError(
                f"{subcommand} needs --ckpt_path: best, last or a file (the weights before training mean nothing)"
            )
        super()._run_subcommand(subcommand)


class Resolved(CLI):
    """A command line that is parsed and instantiated, and not run: for what asks about configs."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing."""


def import_timm() -> None:
    """Import timm without W&B: timm imports wandb if it is installed, for a function we never call.

    Hiding it saves 0.7 s for runs without its logger.
    """
    modules: dict[str, Any] = sys.modules
    if "wandb" in modules:
        return
    modules["wandb"] = None  # Python takes this for: not installed
    try:
        import timm  # noqa: F401
    finally:
        del modules["wandb"]


def run(args: Sequence[str]) -> None:
    """Run a command line; mistakes of the user end in one line and exit code 2."""
    torch.set_float32_matmul_precision("high")  # TF32 on the GPUs that have it
    try:
        with one_line_mistakes():
            CLI(from_checkpoint(args))
    finally:
        finish_wandb()

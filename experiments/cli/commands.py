"""What the subcommands of `lightning` do, on top of LightningCLI. To import this module takes seconds."""

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console

import fashion_cnn  # noqa: F401  (makes its classes known by their short names)
import transfer
from basics.errors import UserError, stop
from basics.files import write_file
from basics.names import MONITOR
from callbacks import (
    CostLedger,
    EpochTable,
    PlanTable,
    PredictionWriter,
    Provenance,
    StepCheckpoint,
    TestReport,
    plan_table,
)
from callbacks.files import AtomicCheckpointIO, is_dev_run
from classification import Classifier, phase_ends
from datamodules import ImageDataModule
from experiments.cli.arguments import from_checkpoint
from experiments.cli.messages import user_mistake
from experiments.cli.parser import Parser
from experiments.runs import CONFIG, Run, provenance, read_checkpoint
from experiments.tracking.wandb_logger import WANDB_ID, finish_wandb, log_cost, wandb_logger

TRAINER_DEFAULTS = {
    "max_epochs": 20,
    "use_distributed_sampler": False,  # the data modules have exact samplers of their own
    "enable_model_summary": False,  # PlanTable says it by phase and stage
    "enable_autolog_hparams": False,  # the whole config is logged instead
    "num_sanity_val_steps": 0,
}


class Trainer(L.Trainer):
    """Lightning's, and what `lightning plan` and `lightning probe` run."""

    def plan(self, model: L.LightningModule, datamodule: L.LightningDataModule | None = None) -> None:
        """Print what will learn when, at which learning rate and cost; nothing is loaded or trained.

        Args:
            model: A classifier.
            datamodule: Not used.
        """
        assert isinstance(model, Classifier)
        epochs = self.max_epochs or 0
        if epochs < 1:
            raise UserError("plan counts epochs: give trainer.max_epochs")
        Console().print(plan_table(model, [1] if is_dev_run(self) else phase_ends(model.phases, epochs)))
        if self.max_steps > 0:
            print(f"trainer.max_steps {self.max_steps} may end the run before that")

    def probe(self, model: L.LightningModule, datamodule: L.LightningDataModule | None = None) -> None:
        """Print how good a linear classifier is on the features after every stage of the pretrained network.

        Args:
            model: A transfer classifier.
            datamodule: Its data.
        """
        from transfer.probe import probe_stages, probe_table

        if not isinstance(model, transfer.TransferClassifier) or not isinstance(datamodule, ImageDataModule):
            raise UserError("probe is for a pretrained network: name a config of a transfer arm")
        model.load_pretrained()
        datamodule.prepare_data()
        datamodule.setup("fit")
        Console().print(probe_table(probe_stages(self, model, datamodule), model.backbone))


class SaveConfig(SaveConfigCallback):
    """Writes config.yaml once training really starts, so that a run that failed before leaves no folder behind."""

    def __init__(self, *args: Any, folder: Path, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.folder = folder

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Nothing yet."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the file and give the same to the logger (rank 0)."""
        if not trainer.is_global_zero:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # Running the file again shall neither resume nor remove this run.
        self.config = self.config.clone()
        self.config.ckpt_path, self.config.run.overwrite = None, False
        self.parser.save(self.config, self.folder / CONFIG, skip_unset=False, overwrite=True)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                write_file(self.folder / WANDB_ID, logger.experiment.id)
            logger.log_hyperparams(json.loads(self.parser.dump(self.config, format="json", skip_unset=False)))


class CLI(LightningCLI):
    """LightningCLI with run folders, exact evaluation and errors of one line."""

    def __init__(self, args: Sequence[str]) -> None:
        super().__init__(
            Classifier,
            ImageDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            trainer_class=Trainer,
            parser_class=Parser,
            save_config_callback=SaveConfig,
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            args=list(args),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Names of the run; the class names come from the data."""
        parser.add_class_arguments(Run, "run")
        parser.link_arguments("data.class_names", "model.init_args.class_names", apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Nothing: what is typed counts. Lightning would let the checkpoint's arguments win over it."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """As Lightning's, `plan` and `probe`; `test` has a table of its own, so that `verbose` has nothing to say."""
        commands = LightningCLI.subcommands()
        return {
            **commands,
            "test": commands["test"] | {"verbose"},
            "plan": {"model", "datamodule"},
            "probe": {"model", "datamodule"},
        }

    def test(self, **kwargs: Any) -> None:
        """Test; TestReport prints and writes the scores."""
        self.trainer.test(verbose=False, **kwargs)

    @property
    def command(self) -> Any:
        """The parsed values of the subcommand."""
        return self.config_init[self.subcommand]

    def before_instantiate_classes(self) -> None:
        """Import what the model will ask for."""
        if self.config[self.subcommand].model.class_path.startswith("transfer."):
            import_timm()

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Settle the run's folder first; callbacks and logger write there."""
        self.run: Run = self.command.run
        trainer, fits = self.command.trainer, self.subcommand == "fit"
        self.run.name_after(self.datamodule, self.model, self.config[self.subcommand].seed_everything)
        trained: Mapping[str, Any] = {}
        if self.command.get("ckpt_path") is not None:
            trained = self._settle_checkpoint(fits)
        if fits and not trainer.fast_dev_run:
            self.run.claim(resumes=self.command.ckpt_path is not None)
        if trainer.logger in (None, True) and self.subcommand in ("fit", "test") and not trainer.fast_dev_run:
            kwargs["logger"] = wandb_logger(self.run)
        elif trainer.logger is None:
            kwargs["logger"] = False
        kwargs["default_root_dir"] = trainer.default_root_dir or str(self.run.folder)
        kwargs["enable_checkpointing"] = True  # for Lightning EpochTable is one; the others depend on the option
        self.save_config_kwargs = {"folder": self.run.folder}
        self.trainer_defaults = {**TRAINER_DEFAULTS, "callbacks": self._callbacks(trained)}
        return super().instantiate_trainer(**kwargs)

    def _settle_checkpoint(self, fits: bool) -> Mapping[str, Any]:
        """Find the checkpoint, check that it may be resumed, and give the record of the run it is of."""
        path = self.run.find_checkpoint(self.command.ckpt_path)
        self.command.ckpt_path = str(path)
        checkpoint = read_checkpoint(path)
        trained: Mapping[str, Any] = checkpoint["callbacks"].get("Provenance", {})
        if fits:
            self.run.check_resumes(path, trained)
            # The optimizer's and the schedule's values come from the checkpoint: others would be shown, not used.
            now, before = self.config_dump["model"]["init_args"], checkpoint["hyper_parameters"]
            for name in now.keys() & before.keys() - {"class_names", "weights", "cache_gb"}:
                if now[name] != before[name]:
                    raise UserError(
                        f"model.{name} is {now[name]}, and {before[name]} in {path}: resume a run with its own values"
                    )
        self.run.belong_to(path, trained)
        return trained

    def _callbacks(self, trained: Mapping[str, Any]) -> list[Callback]:
        identity = {
            "study": self.run.study,
            "strategy": self.run.strategy,
            "seed_name": self.run.seed_name,
            "seed": self.config[self.subcommand].seed_everything,
            "variant": self.datamodule.variant,
            "backbone": getattr(self.model, "backbone", None),
            "weights": getattr(self.model, "weights", None),
        }
        if self.subcommand == "fit":
            callbacks: list[Callback] = [
                PlanTable(),
                Provenance({**identity, **provenance()}),
                EpochTable(self.run.folder / "metrics.csv"),
                CostLedger(self.run.folder / "cost.json"),
            ]
            if self.command.trainer.enable_checkpointing is not False:
                folder = self.run.folder / "checkpoints"
                checkpoint = partial(
                    ModelCheckpoint, folder, save_on_train_epoch_end=True, enable_version_counter=False
                )
                self.best = checkpoint(filename="best", monitor=MONITOR, mode="max")
                # Not `save_last` of the one above: that follows the best, so that a run that has stopped improving
                # would be resumed from its best epoch.
                callbacks += [self.best, checkpoint(filename="last")]
                if self.run.every_n_train_steps:
                    callbacks.append(StepCheckpoint(folder, self.run.every_n_train_steps))
            return callbacks
        if self.subcommand == "predict":
            return [PredictionWriter(self._predictions_file())]
        if self.subcommand == "test":
            record = {**(trained or identity), "checkpoint": self.command.ckpt_path, "tested_with": provenance()}
            return [TestReport(self.run.folder, record)]
        return []

    def _predictions_file(self) -> Path:
        if self.run.predictions:
            return Path(self.run.predictions)
        folder = self.datamodule.predict_folder
        return self.run.folder / (f"predictions-{folder.resolve().name}.csv" if folder else "predictions.csv")

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
        log_cost(self.trainer.loggers, self.run.folder)
        best = self.run.folder / "checkpoints" / "best.ckpt"
        shown = self.trainer.is_global_zero and not self.trainer.interrupted and not is_dev_run(self.trainer)
        if shown and best.is_file():
            print(f"\nbest {MONITOR}: {self.best.best_model_score:.4f}; test it once, with\n")
            print(f"  lightning test --config {self.run.folder / CONFIG} --ckpt_path {best}\n", flush=True)

    def before_test(self) -> None:
        """A score without a trained model is a mistake."""
        if self.command.ckpt_path is None:
            raise UserError(
                f"{self.subcommand} needs --ckpt_path: best, last or a file (the weights before training mean nothing)"
            )

    def after_test(self) -> None:
        """The part of the W&B run that has the scores has the cost as well, for the plot of one against the other."""
        log_cost(self.trainer.loggers, self.run.folder)

    before_validate = before_test
    before_predict = before_test


def import_timm() -> None:
    """Import timm without wandb, which it imports, where that is installed, for a function that is not called here.

    W&B takes 0.7 s, and runs without its logger do not need it.
    """
    modules: dict[str, Any] = sys.modules
    if "wandb" in modules:
        return
    modules["wandb"] = None  # what Python takes for: not installed
    try:
        import timm  # noqa: F401
    finally:
        del modules["wandb"]


def run(args: Sequence[str]) -> None:
    """Run a command line; mistakes of the user end in one line and exit code 2."""
    torch.set_float32_matmul_precision("high")  # TF32 on the GPUs that have it
    try:
        CLI(from_checkpoint(args))
    except Exception as error:
        if mistake := user_mistake(error):
            stop(str(mistake))
        raise
    finally:
        finish_wandb()

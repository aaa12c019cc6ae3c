"""The trainer of the command line: Lightning's, with the subcommands `plan` and `probe`."""

import lightning.pytorch as L
from rich.console import Console

import transfer
from basics.errors import UserError
from callbacks import plan_table
from callbacks.files import is_dev_run
from classification import Classifier, phase_ends
from datamodules import ImageDataModule

DEFAULTS = {
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
            datamodule: Data of the probe.
        """
        from transfer.probe import probe_stages, probe_table

        if not isinstance(model, transfer.TransferClassifier) or not isinstance(datamodule, ImageDataModule):
            raise UserError("probe is for a pretrained network: name a config of a transfer arm")
        model.load_pretrained()
        datamodule.prepare_data()
        datamodule.setup("fit")
        Console().print(probe_table(probe_stages(self, model, datamodule), model.backbone))

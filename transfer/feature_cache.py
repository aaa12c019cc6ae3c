"""Takes frozen stages out of the training step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from callbacks.trainers import image_data
from classification import Classifier
from datamodules import ImageDataModule
from transfer.features import GB, FeatureFiles, Part
from transfer.frozen_part import PrefixPart
from transfer.prefix import FrozenPrefix, digest

Cache = Literal["auto", "off"] | int


@dataclass(eq=False)
class FeatureCache(Callback):
    """Makes the frozen part of a classifier at the beginning of every phase.

    The stages before the first that changes run without a gradient and with batch norm folded into convolutions. If
    their input is deterministic, they run once for every image, and the phase trains on their output.

    Args:
        cache: `off`; `auto`, which caches features if training images are not augmented; or a number of augmented
            views of each training image that are kept and taken in turns, epoch by epoch.
        limit: Bytes of all feature files together.
        split: Function that splits the network for the present phase, and is given an input of it `[B, C, H, W]`; it
            gives None if there is nothing frozen before all that changes.
        normalization: Mean and standard deviation of the pixels; features depend on them.
        input_size: Shape of the images `[C, H, W]` of a run without a data module of this project.
        compile_backend: Backend of torch.compile for both parts of the network; None leaves them as they are.
    """

    cache: Cache
    limit: int
    split: Callable[[Tensor], FrozenPrefix | None]
    normalization: tuple[list[float], list[float]]
    input_size: tuple[int, int, int]
    compile_backend: str | None
    phase: int = field(default=0, init=False)  # number of the phase that this is set up for

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Set up for an epoch that is resumed in its middle, whose beginning Lightning does not announce again."""
        if trainer.fit_loop.restarted_mid_epoch:
            self._enter(trainer, cast(Classifier, pl_module))

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Set up for a new phase."""
        module = cast(Classifier, pl_module)
        if module.phase_number != self.phase:
            self._check_unchanged(module)
            self._enter(trainer, module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check at the end of a phase that nothing frozen has changed."""
        module = cast(Classifier, pl_module)
        if trainer.current_epoch + 1 == module.phase_ends()[self.phase - 1]:
            self._check_unchanged(module)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave the network as it was."""
        self._leave(trainer, cast(Classifier, pl_module))

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leave the network as it was."""
        self._leave(trainer, cast(Classifier, pl_module))

    def _check_unchanged(self, module: Classifier) -> None:
        """Refuse weights that were trained on features of other weights.

        Raises:
            RuntimeError: Something has changed a frozen stage during the phase.
        """
        part = module.frozen_part
        if isinstance(part, PrefixPart) and digest(module.network, part.prefix) != part.weights:
            raise RuntimeError(
                f"frozen stages have changed during phase {self.phase}, and what was trained on is a copy of them: "
                "leave out the callback that has changed them"
            )

    def _leave(self, trainer: L.Trainer, module: Classifier) -> None:
        module.frozen_part = None
        data = image_data(trainer)
        if data is not None:
            data.without_images.clear()

    def _enter(self, trainer: L.Trainer, module: Classifier) -> None:
        self._leave(trainer, module)
        self.phase = module.phase_number
        data = image_data(trainer)
        shape = self.input_size if data is None else data.image_shape
        images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).to(module.device)
        with trainer.precision_plugin.forward_context():
            inputs = module.inputs(images)
            prefix = self.split(inputs)
            if prefix is None:
                return
            example = prefix.features(inputs)
        if self.compile_backend:
            prefix.frozen.compile(backend=self.compile_backend)
            prefix.rest.compile(backend=self.compile_backend)
        part = PrefixPart(prefix, digest(module.network, prefix), inputs.shape[1:])
        if data is not None and self.cache != "off" and not cast(Any, trainer).fast_dev_run:
            self._add_features(part, trainer, module, data, example)
        module.frozen_part = part

    def _add_features(
        self, part: PrefixPart, trainer: L.Trainer, module: Classifier, data: ImageDataModule, example: Tensor
    ) -> None:
        """Give the part its features, unless they would change, be too many, or serve a few batches only."""
        begin = module.phase_began
        end = module.phase_ends()[self.phase - 1]
        if (end - begin) * trainer.num_training_batches < len(cast(Any, trainer).train_dataloader):
            return  # a try of a few batches
        train_views: Sequence[int | None] = [None]
        if data.augment:
            if not isinstance(self.cache, int):
                explain_uncached("training images are augmented (--model.cache K would compute K views of each once)")
                return
            part.views = self.cache
            train_views = sorted({epoch % self.cache for epoch in range(begin, end)})
        splits: list[Part] = [("train", view) for view in train_views]
        if trainer.limit_val_batches:
            splits.append(("val", None))
        files = FeatureFiles(trainer, data, self.limit)
        size = files.size(splits, example)
        count = sum(len(data.splits[name]) for name, _ in splits)
        what = f"the features before {part.prefix.before} ({count:,} images, {size / GB:.3g} GB)"
        room = trainer.strategy.broadcast(files.room())  # so that all ranks do the same, whatever their disks have
        if size > room:
            allowed = f"{room / GB:.3g} GB, --model.cache_gb or what is free in {files.folder}"
            explain_uncached(f"{what} need more than {allowed}")
            return
        rank_zero_info(f"{what} are computed once, in {files.folder}")
        made_by = (part.weights, *self.normalization)
        part.features = files.get(splits, lambda images: part.prefix.features(module.inputs(images)), example, made_by)
        part.features_computed = files.computed["train"]
        data.without_images |= {name for name, _ in splits}


def explain_uncached(reason: str) -> None:
    """Say why frozen stages are computed in every step."""
    rank_zero_info(f"frozen stages run in every step: {reason}")

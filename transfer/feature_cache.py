from collections.abc import Sequence
from typing import Any, Literal, cast

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from datamodules import ImageDataModule
from transfer.features import GB, FeatureFiles, Part
from transfer.prefix import FrozenPrefix, digest, reproduces, split_prefix

Cache = Literal["auto", "off"] | int


class FeatureCache(Callback):
    """At the beginning of every phase, takes what is frozen out of the training step.

    The stages before the first that changes run without a gradient and with batch norm folded into convolutions; and
    where their input is deterministic, they run once for every image, and the phase trains on their output.

    Args:
        cache: Of the features: `off`; `auto`, where training images are not augmented; or a number of augmented views
            of each training image that are kept and taken in turns, epoch by epoch.
        limit: Bytes of all feature files together.
    """

    def __init__(self, cache: Cache = "auto", limit: int = 10 * GB) -> None:
        self.cache, self.limit = cache, limit
        self.phase = 0  # the one that this is set up for
        self.weights = ""  # digest of what is frozen

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Set up for an epoch that is resumed in its middle, whose beginning Lightning does not announce again."""
        if trainer.fit_loop.restarted_mid_epoch:
            self._enter(trainer, pl_module)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Set up for a new phase."""
        module: Any = pl_module
        if len(module.started) != self.phase:
            self._check(module)
            self._enter(trainer, module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check what was frozen at the end of a phase."""
        module: Any = pl_module
        if trainer.current_epoch + 1 == module.phase_ends()[self.phase - 1]:
            self._check(module)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave the network as it was."""
        self._leave(trainer, pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """The same."""
        self._leave(trainer, pl_module)

    def _leave(self, trainer: L.Trainer, module: Any) -> None:
        module.frozen_prefix, module.features, module.features_computed = None, {}, 0
        if isinstance(data := getattr(trainer, "datamodule", None), ImageDataModule):
            data.without_images.clear()

    def _check(self, module: Any) -> None:
        """Refuse what was trained on features of other weights.

        Raises:
            RuntimeError: Something has changed a frozen stage during the phase.
        """
        prefix = module.frozen_prefix
        if prefix is not None and digest(module.network, prefix) != self.weights:
            raise RuntimeError(
                f"frozen stages have changed during phase {self.phase}, and what was trained on is a copy of them: "
                "leave out the callback that has changed them"
            )

    def _enter(self, trainer: L.Trainer, module: Any) -> None:
        self._leave(trainer, module)
        self.phase = len(module.started)
        data = cast(Any, trainer).datamodule
        known = isinstance(data, ImageDataModule)
        shape = data.image_shape if known else module.network.default_cfg["input_size"]
        images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).to(module.device)
        with trainer.precision_plugin.forward_context():
            prefix = self._split(module, module.inputs(images))
            if prefix is None:
                return
            example = prefix.features(module.inputs(images))
        if module.compile_backend:
            prefix.frozen.compile(backend=module.compile_backend)
            prefix.rest.compile(backend=module.compile_backend)
        module.frozen_prefix, self.weights = prefix, digest(module.network, prefix)
        if known and self.cache != "off" and not cast(Any, trainer).fast_dev_run:
            self._use_features(trainer, module, data, example)

    def _split(self, module: Any, inputs: Tensor) -> FrozenPrefix | None:
        stages, changing = module.network_stages, module.changing_stages(module.phase)
        if next(iter(stages)) in changing:
            return None
        prefix = split_prefix(module.network, stages.values(), changing)
        if prefix is None:
            _say_not(f"torch.fx cannot record what {type(module.network).__name__} computes")
        elif not reproduces(module.network, prefix, inputs):
            _say_not("what torch.fx has recorded gives something else than the network")
            return None
        return prefix

    def _use_features(self, trainer: L.Trainer, module: Any, data: ImageDataModule, example: Tensor) -> None:
        begin, end = module.started[-1], module.phase_ends()[self.phase - 1]
        if (end - begin) * trainer.num_training_batches < len(cast(Any, trainer).train_dataloader):
            return  # a try of a few batches
        views: Sequence[int | None] = [None]
        if data.augment:
            if not isinstance(self.cache, int):
                _say_not("training images are augmented (--model.cache K would compute K views of each once)")
                return
            views = sorted({epoch % self.cache for epoch in range(begin, end)})
        parts: list[Part] = [("train", view) for view in views]
        parts += [("val", None)] if trainer.limit_val_batches else []
        files = FeatureFiles(trainer, data, self.limit)
        size, images = files.size(parts, example), sum(len(data.splits[name]) for name, _ in parts)
        what = f"the features before {module.changing_stages(module.phase)[0]} ({images:,} images, {size / GB:.3g} GB)"
        room = trainer.strategy.broadcast(files.room())  # so that all do the same, whatever their disks have
        if size > room:
            _say_not(f"{what} need more than {room / GB:.3g} GB, --model.cache_gb or what is free in {files.folder}")
            return
        rank_zero_info(f"{what} are computed once, in {files.folder}")
        made_by = (self.weights, *module.normalization)
        module.features = files.get(
            parts, lambda images: module.frozen_prefix.features(module.inputs(images)), example, made_by
        )
        module.features_computed = files.computed["train"]
        data.without_images |= {name for name, _ in parts}


def _say_not(reason: str) -> None:
    rank_zero_info(f"frozen stages run in every step: {reason}")

"""Definitions of the rows of results.json: the peer, the ratio to reach, the limit."""

from benchmarks.measure import Spec

EPOCHS = 20  # epochs of frozen_run
SCALED = "timed over steps inside the running fit, after warm-up, and scaled to the epoch's images"
FREEZING = "BackboneFinetuning(train_bn=False) + DataLoader"
ORDINARY = "Lightning + torchvision transforms + DataLoader(2 workers)"
PANDAS = "pandas read_csv + split"
SPECS = {
    "frozen_epoch": Spec(FREEZING, "s", 30, note=f"an epoch after the first; the peer's {SCALED}"),
    "frozen_first_epoch": Spec(FREEZING, "s", 1.5, note="ours from the start of fit, with writing the features"),
    "frozen_run": Spec(
        FREEZING, "s", 15, note=f"{EPOCHS} epochs with validation, ours whole; the peer's steps of both scaled to them"
    ),
    "partial_epoch": Spec(
        FREEZING,
        "s",
        4,
        note="after the first pass. Limit: without what is below layer4, 95 of the peer's 159 million multiply-adds an "
        "image are left (1.7x); the longest part is the backward pass of convolutions on maps of 2x2 "
        "(profiles/fer_partial_cached.txt), which as products of matrices over all pixels take 0.85 of the time at 2x2 "
        "and more at 3x3",
    ),
    "partial_uncached": Spec(FREEZING, "s", 1.5, note=f"augmented; {SCALED}"),
    "full_epoch": Spec(ORDINARY, "s", 1.1, 3, note=f"FER2013, augmented; {SCALED}"),
    "fashion_epoch": Spec("torchvision FashionMNIST, Lightning, DataLoader(2 workers)", "s", 1.4, 20, note=SCALED),
    "fer_cold": Spec(
        PANDAS, "s", 2.5, note="with the fingerprint and the file that later starts map, which the peer has not"
    ),
    "fer_warm": Spec(PANDAS, "s", 50),
    "loop_overhead": Spec("bare PyTorch loop, Fashion-MNIST", "ms/step", 1.05, cost=True),
    "deepweeds_decode": Spec(
        "ImageFolder, torchvision transforms, DataLoader(2 workers)",
        "images/s",
        3,
        rate=True,
        note="112 px, augmented by albumentations in 2 workers. Limit: its transforms are what is left when nothing is "
        "decoded (profiles/deepweeds_decode.txt)",
    ),
    "deepweeds_batch": Spec(
        "the same peer", "images/s", rate=True, note="as deepweeds_decode, with --data.augment_with batch"
    ),
    "memory": Spec(
        "pandas + the same network",
        "MB",
        0.5,
        cost=True,
        note="peak of the training process (getrusage), not its workers. Limit: torch, Lightning and timm alone are "
        "848 MB resident, and one bare training step of this network brings it to 1,144 MB (profiles/memory.txt)",
    ),
}
SLOW = ("frozen_first_epoch", "frozen_run", "partial_epoch", "fer_cold", "deepweeds_batch", "memory")
QUICK = tuple(name for name in SPECS if name not in SLOW)
GPU_PAIRS = tuple(name for name in SPECS if name.endswith(("_epoch", "_run", "_uncached")))  # all rows of a training
GPU = {
    "fashion_10_epochs": Spec("5 s", "s", 1, target=5, note="with validation; the second run in a process"),
    "resnet50_224_bf16": Spec(
        "4,900 images/s", "images/s", 1, target=4900, rate=True, note="batch 256, decoded, augmented"
    ),
    "resnet50_busy": Spec("90 %", "%", 1, target=90, rate=True, note="mean of nvidia-smi's samples, 10 a second"),
    "resnet18_fer": Spec("", "images/s", target=1, rate=True),
    **{f"memory_{arm}": Spec("", "MB", target=1, cost=True) for arm in ("frozen", "partial", "full")},
}

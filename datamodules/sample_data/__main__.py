"""Write all four sets: `python -m datamodules.sample_data --root data/sample`."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from datamodules.sample_data import write_deepweeds, write_fashion_mnist, write_fer2013, write_shapes


def main(arguments: Sequence[str] | None = None) -> None:
    """Write all four sets below a folder."""
    parser = argparse.ArgumentParser(
        "python -m datamodules.sample_data", description="Draw small image sets in the formats of public ones."
    )
    parser.add_argument("--root", type=Path, default=Path("data/sample"))
    parser.add_argument("--images", type=float, default=1.0, help="size of the sets; 0.1 is a tenth of the default")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    sets: list[tuple[str, Callable[..., None], tuple[int, ...]]] = [
        ("FashionMNIST", write_fashion_mnist, (3000, 501)),
        ("fer2013", write_fer2013, (2800, 351, 351)),
        ("deepweeds", write_deepweeds, (900,)),
        ("shapes", write_shapes, (4000, 400)),
    ]
    for name, write, defaults in sets:
        counts = [max(50, round(count * options.images)) for count in defaults]  # enough for every class
        write(options.root, *counts, seed=options.seed)
        print(f"{options.root / name}: {' + '.join(map(str, counts))} pictures")


if __name__ == "__main__":
    main()

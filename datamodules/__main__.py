"""Get the data sets of all studies: `python -m datamodules --root data`."""

import argparse
import sys

from basics.errors import UserError
from datamodules import FER2013, DeepWeeds, FashionMNIST


def main() -> None:
    """Download, decode and count every data set; one that cannot be had is an error line and exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default="data", help="folder with one subfolder a data set")
    root = parser.parse_args().root
    failed = False
    for data in (FashionMNIST(root=root), DeepWeeds(root=root), FER2013(root=root)):
        try:
            data.prepare_data()
            data.setup("fit")
            sizes = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
            print(f"{type(data).__name__}: {sizes}")
        except UserError as error:
            failed = True
            print(f"error: {type(data).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(2 if failed else 0)


if __name__ == "__main__":
    main()

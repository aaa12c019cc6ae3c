"""The command line, as `lightning` and as `python -m experiments.cli`."""

from experiments.cli.entry import main

__all__ = ["main"]

"""`python -m experiments.cli fit --config configs/fer_full.yaml`."""

from experiments.cli import main

main()

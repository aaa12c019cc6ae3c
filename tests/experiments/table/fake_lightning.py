"""Stands for `python -m experiments.cli` where a test is about the table: leaves a run's files in milliseconds.

What is to go wrong stands in a file `trouble.json` in the folder of runs: {"fer/full/seed1": "fail" | "hang" | "stop"}.
"""

import json
import sys
import time
from pathlib import Path

import yaml

from basics.fit_end import FitEnd
from experiments.configs import look_up
from tests.experiments.table.plain import plain_config

command, *args = sys.argv[1:]
config = plain_config(args)
run = config["run"]
seed = config["seed_everything"]
folder = Path(run["root"], run["study"], run["strategy"], f"seed{seed}")
with Path(run["root"], "calls.txt").open("a") as calls:
    calls.write(f"{command} {run['study']}/{run['strategy']}/seed{seed} {' '.join(args[-4:])}\n")
if command == "test":
    (folder / "metrics.json").write_text(json.dumps({"wrote": time.time()}))
    sys.exit()


def trouble():
    path = Path(run["root"], "trouble.json")
    named = json.loads(path.read_text()) if path.is_file() else {}
    return named.get(f"{run['study']}/{run['strategy']}/seed{seed}")


if trouble() == "fail":
    print("a line\n" * 20 + "ValueError: the reason")
    sys.exit(1)
(folder / "checkpoints").mkdir(parents=True, exist_ok=True)
(folder / "config.yaml").write_text(yaml.safe_dump(config))
(folder / "checkpoints/last.ckpt").write_text("")
lr = float(look_up(config, "model.init_args.lr"))
score = 1 - abs(lr - 0.003)  # best at 0.003
(folder / "metrics.csv").write_text(f"epoch,epoch_seconds,val/f1_macro\n0,1.5,{score}\n1,1.5,{score / 2}\n")
for _ in range(600):
    if trouble() != "hang":
        break
    time.sleep(0.1)
ending = FitEnd("signal", 2, 20, "SIGTERM") if trouble() == "stop" else FitEnd("finished", 20, 20)
ending.write(folder / "fit.json")
print("trained")

"""What W&B gets: real offline runs, the dashboard's definition, what is uploaded. Nothing is sent."""

import csv
import json
import random
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments.tracking import dashboard
from experiments.tracking.sync import recorded_offline, sync
from tests.experiments.tracking.wandb_record import read


@pytest.fixture
def logged_out(monkeypatch, tmp_path):
    """No key, and no way to the network."""
    monkeypatch.setenv("WANDB_MODE", "")  # so that what wandb sets is taken back afterwards
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no.netrc"))
    connect = socket.socket.connect

    def local(self, address):
        assert self.family == socket.AF_UNIX or address[0] == "127.0.0.1", f"connects to {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)


def test_an_offline_run_has_the_names_every_epoch_and_the_scores_of_the_test(
    lightning, tiny, tmp_path, logged_out, caplog
):
    args = [arg for arg in tiny if arg not in ("--trainer.logger", "false")]
    args.remove("--trainer.enable_progress_bar")
    lightning("fit", "--config", "configs/fashion_plain.yaml", *args, "--trainer.max_epochs", 2, "--seed_everything", 3)
    folder = tmp_path / "runs/fashion/plain/seed3"
    assert f"wandb sync {folder}/wandb/offline-run-*" in caplog.text
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    trained = read(path)
    assert (trained.run.project, trained.run.run_group, trained.run.job_type) == (
        "finetune-compare",
        "fashion",
        "plain",
    )
    assert trained.run.display_name == "fashion/plain/seed3"
    names = {"study": "fashion", "strategy": "plain", "seed": 3, "fold": 0}
    assert names.items() <= trained.config.items()
    assert trained.config["model"]["class_path"] == "fashion_cnn.FashionClassifier"
    assert trained.config["trainer"]["max_epochs"] == 2

    epochs = list(csv.DictReader((folder / "metrics.csv").open()))
    recorded = [row for row in trained.history if "val/f1_macro" in row]
    assert [row["epoch"] for row in recorded] == [0, 1]
    assert [row["val/f1_macro"] for row in recorded] == pytest.approx([float(row["val/f1_macro"]) for row in epochs])
    assert any("lr/conv1" in row for row in trained.history)

    total = {"trainable": 5, "forward_flops": 2.0, "backward_flops": 3.0, "seconds": 7.0}
    (folder / "cost.json").write_text(json.dumps({"phases": [], "total": total}))
    lightning("test", "--config", folder / "config.yaml", "--ckpt_path", "best", "--trainer.logger", "true")
    (other,) = (found for found in folder.glob("wandb/offline-run-*/run-*.wandb") if found != path)
    assert other.name == path.name == f"run-{(folder / 'wandb/id').read_text()}.wandb", "one run: trained, then tested"
    tested = read(other)
    assert names.items() <= tested.config.items()
    scores = {key: value for row in tested.history for key, value in row.items()}
    record = json.loads((folder / "metrics.json").read_text())
    assert scores["test/f1_macro"] == pytest.approx(record["test"]["f1_macro"])
    for name, row in record["per_class"].items():
        assert scores[f"test/f1/{name}"] == pytest.approx(row["f1"]), name
    table = json.loads((other.parent / "files" / scores["test/per_class"]["path"]).read_text())
    assert table["data"][0][:2] == ["T-shirt/top", pytest.approx(record["per_class"]["T-shirt/top"]["precision"])]
    chart = json.loads((other.parent / "files" / scores["test/confusion_matrix_table"]["path"]).read_text())
    assert sum(row[chart["columns"].index("nPredictions")] for row in chart["data"]) == record["test"]["images"]
    assert {"cost/trainable": 5, "cost/flops": 5.0, "cost/seconds": 7.0}.items() <= tested.summary.items()

    used = set(shown(dashboard.definition("p")["workspace"], "fashion"))
    assert used <= {*scores, *tested.summary, *(key for row in trained.history for key in row)}, (
        "panels show what is logged"
    )
    assert recorded_offline(tmp_path) == ([path.parent], [other.parent])


def shown(workspace, study):
    """Keys of all panels, without the classes of other studies."""
    for section in workspace["section"]["panelBankConfig"]["sections"]:
        if section["name"].startswith("F1 by class") and study not in section["name"]:
            continue
        for panel in section["panels"]:
            config = panel["config"]
            yield from config.get("metrics", ())
            yield from (config[axis].removeprefix("summary:") for axis in ("xAxis", "yAxis") if axis in config)
            for query in config.get("userQuery", {}).get("queryFields", ()):
                yield from (arg["value"] for field in query["fields"] for arg in field.get("args", ()))


def test_without_a_login_the_dashboard_goes_to_a_file(logged_out, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dashboard.write()
    assert "wandb login && make dashboard" in capsys.readouterr().out
    text = (tmp_path / "results/dashboard.json").read_text()
    random.random()
    dashboard.write()
    assert (tmp_path / "results/dashboard.json").read_text() == text, "the same again"
    saved = json.loads(text)
    (runs,) = saved["workspace"]["section"]["runSets"]
    assert [key["name"] for key in runs["grouping"]] == ["study.value", "strategy.value"]
    grids = [block for block in saved["report"]["blocks"] if block["type"] == "panel-grid"]
    assert len(grids) == 9, "three for each study"
    for grid in grids:
        (runs,) = grid["metadata"]["runSets"]
        assert [key["name"] for key in runs["grouping"]] == ["strategy.value"]
    panels = [panel for grid in grids for panel in grid["metadata"]["panelBankSectionConfig"]["panels"]]
    curve = next(panel["config"] for panel in panels if panel["config"].get("metrics") == ["val/f1_macro"])
    assert (curve["xAxis"], curve["groupAgg"], curve["groupArea"]) == ("epoch", "mean", "stddev")
    bars = {panel["config"]["metrics"][0] for panel in panels if panel["viewType"] == "Bar Chart"}
    assert {"test/f1_macro", "test/f1/Fear", "test/f1/Chinee apple", "test/f1/Shirt"} <= bars
    assert {"Scatter Plot", "Vega2", "Run Comparer"} <= {panel["viewType"] for panel in panels}


class Server:
    """Stands in for W&B's: keeps views by id, as `wandb.Api` asks for them."""

    app_url = "https://wandb.invalid/"

    def __init__(self):
        self.views, self._service_api, self.default_entity = {}, self, "somebody"

    def projects(self, entity):
        return [SimpleNamespace(name="finetune-compare")]

    def reports(self, path):
        reports = [view for view in self.views.values() if view["type"] == "runs"]
        return [SimpleNamespace(id=view["id"], display_name=view["displayName"]) for view in reports]

    def execute_graphql(self, query, variables=None):
        if "upsertView" in query:
            identity = variables.get("id") or f"id{len(self.views)}"
            self.views[identity] = {**variables, "id": identity}
            return {"upsertView": {"view": {**self.views[identity], "project": {"name": "p", "entityName": "e"}}}}
        if "ProjectInternalId" in query:
            return {"project": {"internalId": "1"}}
        found = [view for view in self.views.values() if view["name"] == variables["viewName"]]
        return {"project": {"allViews": {"edges": [{"node": view} for view in found]}}}


def test_with_a_login_both_are_created_once_and_then_replaced(logged_out, monkeypatch, capsys):
    import wandb

    server = Server()
    monkeypatch.setattr(wandb, "Api", lambda *args, **kwargs: server)
    monkeypatch.setenv("WANDB_API_KEY", "x")
    dashboard.write()
    first = capsys.readouterr().out
    assert first.splitlines()[0] == "https://wandb.invalid/somebody/finetune-compare?nw=finetunecompare"
    assert sorted(view["type"] for view in server.views.values()) == ["project-view", "runs"]
    before = {identity: view["spec"] for identity, view in server.views.items()}
    monkeypatch.setattr(dashboard, "FINAL", "SummaryMetric('test/f1_macro') >= 0.5")
    dashboard.write()
    assert capsys.readouterr().out == first, "the same addresses"
    assert before.keys() == server.views.keys()
    assert all(view["spec"] != before[identity] for identity, view in server.views.items())
    monkeypatch.setenv("WANDB_PROJECT", "another")
    with pytest.raises(SystemExit):
        dashboard.write()
    assert "no project somebody/another yet" in capsys.readouterr().err


@pytest.fixture
def records(tmp_path):
    """Two runs that were recorded offline, of which one is uploaded."""
    for k in range(2):
        folder = tmp_path / f"runs/fer/full/seed{k}/wandb/offline-run-2026110{k}_000000-a{k}"
        folder.mkdir(parents=True)
        (folder / f"run-a{k}.wandb").touch()
    (folder / "run-a1.wandb.synced").touch()  # as `wandb sync` leaves it
    return tmp_path / "runs"


def exit_code(root):
    with pytest.raises(SystemExit) as ended:
        sync(root)
    return ended.value.code


def test_upload_needs_a_login(logged_out, records, monkeypatch, capsys):
    assert exit_code(records) == 2
    said = capsys.readouterr()
    assert said.err == (
        f"error: 1 offline record below {records}, and nobody is logged in: wandb login && make wandb-sync\n"
    )
    assert said.out == ""


def test_what_is_uploaded_is_what_is_not_yet(logged_out, records, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "x")
    called = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: called.append(command) or SimpleNamespace(returncode=1))
    assert exit_code(records) == 1, "the exit code is that of `wandb sync`"
    ((*_, wandb, command, folder),) = called
    assert (wandb, command) == ("wandb", "sync")
    assert folder == str(records / "fer/full/seed0/wandb/offline-run-20261100_000000-a0")


def test_the_training_of_a_run_is_uploaded_before_its_test_which_goes_on_with_it(logged_out, records, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "x")
    called = []
    done = SimpleNamespace(returncode=0)
    monkeypatch.setattr(subprocess, "run", lambda command, env, check: called.append((command[3:], env)) or done)
    tested = []
    for k in range(2):  # the training of the second is uploaded already
        tested.append(records / f"fer/full/seed{k}/wandb/offline-run-2026110{k}_000001-a{k}")
        tested[-1].mkdir()
        (tested[-1] / f"run-a{k}.wandb").touch()
    sync(records)
    (first, plain), (later, resumed) = called
    assert first == ["sync", str(records / "fer/full/seed0/wandb/offline-run-20261100_000000-a0")]
    assert "WANDB_RESUME" not in plain
    assert later == ["sync", *map(str, tested)]
    assert resumed["WANDB_RESUME"] == "allow"


def test_nothing_to_upload_is_one_line(logged_out, tmp_path, monkeypatch, capsys):
    sync(tmp_path / "runs")
    assert capsys.readouterr().out.count("\n") == 1


def test_the_marker_of_an_uploaded_record_is_the_one_that_wandb_looks_for(records):
    from wandb.cli import beta_sync

    first, later = recorded_offline(records)
    for record in Path(records).rglob("run-*.wandb"):
        assert beta_sync._is_synced(record) == (record.parent not in first + later)

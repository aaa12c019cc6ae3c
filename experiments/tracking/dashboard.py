"""`make dashboard`: one W&B workspace and one report that compare the strategies of every study.

Both are made by the functions below through wandb-workspaces. With a login they are created, or replaced where they are
there already; without one the same definition goes to a file.
"""

import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

import datamodules
from basics.errors import stop
from basics.files import write_json
from basics.names import MONITOR
from experiments.studies import STUDIES
from experiments.tracking.wandb_logger import PROJECT, logged_in

TITLE = "Comparison of fine-tuning strategies"
VIEW = "finetunecompare"  # the workspace's name in its address, by which it is found again
CLASSES: Mapping[str, Sequence[str]] = {
    name: getattr(datamodules, study.data).class_names for name, study in STUDIES.items()
}
# Runs that have read the test: trials of learning rates and runs that are not finished are not part of a comparison.
FINAL = "SummaryMetric('test/f1_macro') >= 0"
COLUMNS = (*(f"config:{name}.value" for name in ("study", "strategy", "seed", "fold")), "summary:test/f1_macro")
MEAN = {"groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}  # over the runs that the run set has in one group


def curves() -> list[Any]:
    """Plots of every epoch: mean over the runs of a group, the band is one standard deviation."""
    shown = {MONITOR: "Validation macro-F1", "val/loss": "Validation loss", "train/loss": "Training loss"}
    return [wr.LinePlot(title=title, x="epoch", y=[key], title_x="epoch", **MEAN) for key, title in shown.items()]


def costs() -> list[Any]:
    """Scores of the test, one bar a group, and against what training has cost, one point a run."""
    axes = {
        "cost/flops": "operations of training",
        "cost/seconds": "seconds of training",
        "cost/trainable": "trainable parameters",
    }
    score = wr.SummaryMetric("test/f1_macro")
    return [
        wr.BarPlot(title="Test macro-F1", metrics=["test/f1_macro"], **MEAN),
        wr.BarPlot(title="Test accuracy", metrics=["test/accuracy"], **MEAN),
        *(
            wr.ScatterPlot(title=f"Test macro-F1 against {name}", x=wr.SummaryMetric(key), y=score, log_x=True)
            for key, name in axes.items()
        ),
    ]


def class_bars(class_names: Sequence[str]) -> list[Any]:
    """F1 of every class of the test."""
    return [wr.BarPlot(title=f"Test F1: {name}", metrics=[f"test/f1/{name}"], **MEAN) for name in class_names]


def confusion_matrices() -> list[Any]:
    """The chart of `wandb.plot.confusion_matrix`, of every run that is shown, and what the runs differ in."""
    return [
        wr.CustomChart(
            query={"summaryTable": {"tableKey": "test/confusion_matrix_table"}},
            chart_name="wandb/confusion_matrix/v1",
            chart_fields={field: field for field in ("Actual", "Predicted", "nPredictions")},
            chart_strings={"title": "Confusion matrices of the test"},
        ),
        wr.RunComparer(diff_only="split"),
    ]


def workspace(entity: str, project: str) -> Any:
    """The workspace: all studies, runs grouped by study and, within it, by strategy.

    Args:
        entity: Owner of the project; empty where nobody is logged in.
        project: Name of the project.
    """
    sections = {"Curves": curves(), "Scores and cost": costs(), "Confusion matrices": confusion_matrices()}
    sections |= {f"F1 by class: {study}": class_bars(names) for study, names in CLASSES.items()}
    made = ws.Workspace(
        entity=entity,
        project=project,
        name=TITLE,
        sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections.items()],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=FINAL, groupby=[ws.Config("study"), ws.Config("strategy")], pinned_columns=list(COLUMNS)
        ),
    )
    made._internal_name = f"nw-{VIEW}-v"
    return made


def report(entity: str, project: str) -> Any:
    """The report: a chapter for each study, runs grouped by strategy.

    Args:
        entity: Owner of the project; empty where nobody is logged in, and the run sets then name no project: to look up
            its number needs a login.
        project: Name of the project.
    """
    blocks: list[Any] = [wr.TableOfContents()]
    for study, class_names in CLASSES.items():
        runs = {
            "entity": entity,
            "project": project,
            "name": f"{study}: final runs",
            "filters": f"Group = '{study}' and {FINAL}",
            "groupby": ["config.strategy"],
        }
        chapters = {
            "Curves, scores and cost": [*curves(), *costs()],
            "F1 by class": class_bars(class_names),
            "Confusion matrices": confusion_matrices(),
        }
        blocks.append(wr.H1(text=study))
        for title, panels in chapters.items():
            for i, panel in enumerate(panels):
                panel.layout = wr.Layout(x=i % 3 * 8, y=i // 3 * 6, w=8, h=6)
            blocks += [wr.H2(text=title), wr.PanelGrid(runsets=[wr.Runset(**runs)], panels=panels)]
    about = (
        "Bars and curves are means over seeds, with one standard deviation. Learning rates are chosen on validation."
    )
    return wr.Report(entity=entity, project=project, title=TITLE, description=about, blocks=blocks, width="fluid")


def save(entity: str, project: str, api: Any) -> list[str]:
    """Create both in W&B, or replace what an earlier call has created.

    Args:
        entity: Owner of the project.
        project: Name of the project.
        api: A `wandb.Api`.

    Returns:
        The addresses of the workspace and of the report.
    """
    if project not in {found.name for found in api.projects(entity)}:
        stop(
            f"W&B has no project {entity}/{project} yet: train something, or upload what there is with make wandb-sync"
        )
    view = workspace(entity, project)
    text = report(entity, project)
    try:
        view._internal_id = ws.Workspace.from_url(f"https://wandb.ai/{entity}/{project}?nw={VIEW}")._internal_id
    except ValueError as error:
        if "not found in project" not in str(error):
            raise
    text.id = next((old.id for old in api.reports(f"{entity}/{project}") if old.display_name == TITLE), "")
    return [view.save().url, text.save().url]


def definition(project: str) -> dict[str, Any]:
    """Definition that `save` would send, as W&B's app stores it, with the same ids in every call."""
    state = random.getstate()
    random.seed(0)  # wandb-workspaces draws the ids of panels
    try:
        views = {"workspace": workspace("", project), "report": report("", project)}
    finally:
        random.setstate(state)
    specs = {
        name: view._to_model().spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        for name, view in views.items()
    }
    return {"project": project, "title": TITLE, **specs}


def write() -> None:
    """Create or renew both in the project that runs are logged to; without a login write their definition to a file."""
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    if not logged_in() or os.environ.get("WANDB_MODE") in ("offline", "dryrun", "disabled"):
        path = Path("results", "dashboard.json")
        write_json(path, definition(project))
        print(f"wrote {path}: nobody is logged in to W&B; to create both there: wandb login && make dashboard")
        return
    import wandb

    api = wandb.Api()
    for address in save(os.environ.get("WANDB_ENTITY") or api.default_entity, project, api):
        print(address)

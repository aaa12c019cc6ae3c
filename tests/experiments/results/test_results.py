"""Results of a study from synthetic run folders: scores, pairs, refusals, tables."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from experiments.report.page import build
from experiments.results import __main__ as results
from experiments.results import records, statistics, tables, write
from experiments.results.comparison import Comparison
from experiments.results.finished_runs import read_runs
from tests.experiments.synthetic import write_run, write_runs
from tests.experiments.synthetic_results import arm_of, study_of


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The runs of four arms and three seeds, and their results."""
    root = tmp_path_factory.mktemp("runs")
    write_runs(root)
    write.write("fer", root, root / "out", latex=True)
    return root, json.loads((root / "out/fer.json").read_text())


@pytest.fixture
def two(tmp_path):
    """Two small arms of two seeds, to be spoilt."""
    write_runs(tmp_path, strategies=("frozen", "full"), seeds=(0, 1), images=60)
    return tmp_path


def refused(root, capsys, study="fer"):
    with pytest.raises(SystemExit) as stopped:
        read_runs(root, study)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.count("\n") == 1
    return error


def change(folder, **values):
    """Change values of a run's config.yaml, by key with __ for dots."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for name, value in values.items():
        *path, last = name.split("__")
        place = config
        for key in path:
            place = place[key]
        place[last] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def pair_of(content, a, b):
    return next(pair for pair in content["pairs"] if (pair["a"], pair["b"]) == (a, b))


def test_scores_are_those_of_metrics_json(written):
    root, content = written
    arm = content["arms"][2]
    records = [json.loads((root / f"fer/full/seed{seed}/metrics.json").read_text()) for seed in range(3)]
    assert [each["strategy"] for each in content["arms"]] == ["frozen", "partial", "full", "gradual"]
    assert arm["accuracy"]["mean"] == pytest.approx(np.mean([record["test"]["accuracy"] for record in records]))
    assert arm["clean"]["f1_macro"]["std"] == pytest.approx(np.std([r["clean"]["f1_macro"] for r in records], ddof=1))
    for name, value in arm["per_class_f1"].items():
        assert value["mean"] == pytest.approx(np.mean([record["per_class"][name]["f1"] for record in records]))
    assert arm["cost"]["seconds"]["mean"] == pytest.approx(np.mean([r["cost"]["total"]["seconds"] for r in records]))
    assert arm["runs"][1] == {"seed": 1, "fold": 0, "folder": "fer/full/seed1", "commit": records[1]["git_commit"]}


def test_exchangeable_arms_are_not_distinguishable_and_others_are(written):
    _, content = written
    assert [(pair["a"], pair["b"]) for pair in content["pairs"] if not pair["distinguishable"]] == [("full", "gradual")]
    assert {arm["strategy"]: arm["letters"] for arm in content["arms"]} == {
        **{"frozen": "c", "partial": "b", "full": "a", "gradual": "a"}
    }
    pair = pair_of(content, "frozen", "full")
    frozen, full = (next(a for a in content["arms"] if a["strategy"] == name) for name in ("frozen", "full"))
    assert pair["difference"] == pytest.approx(frozen["f1_macro"]["mean"] - full["f1_macro"]["mean"])
    assert pair["ci95"][0] < pair["difference"] < pair["ci95"][1] < 0
    assert pair["accuracy"]["p"] < 1e-9 < pair_of(content, "full", "gradual")["accuracy"]["p"]
    assert content["hypotheses"][0]["verdict"] == "supported"


def test_accuracy_is_compared_by_mcnemar_over_all_seeds(written):
    root, content = written
    runs = {(run.folder.strategy, run.folder.seed): run.right for run in read_runs(root, "fer")}
    p = 2 * np.mean([statistics.mcnemar(runs["partial", seed], runs["full", seed]) for seed in range(3)])
    assert pair_of(content, "partial", "full")["accuracy"]["p"] == pytest.approx(p, rel=1e-6, abs=0)


def with_arm(content, **values):
    return content | {"arms": [content["arms"][0] | values, *content["arms"][1:]]}


@pytest.mark.parametrize(
    ("spoil", "key"),
    [
        (lambda content: content | {"mine": 1}, "mine: Extra inputs are not permitted"),
        (lambda content: content | {"arms": []}, "arms: List should have at least 1 item"),
        (lambda content: content | {"pairs": [content["pairs"][0] | {"p": 2}]}, "pairs.0.p: Input should be less than"),
        (lambda content: content | {"pairs": [{"a": "full"}]}, "pairs.0.difference: Field required"),
        (lambda content: with_arm(content, lr="0.1"), "arms.0.lr: Input should be a valid number"),
        (lambda content: with_arm(content, mine=1), "arms.0.more_scores.mine: Input should be"),
        (lambda content: with_arm(content, accuracy=content["arms"][0]["accuracy"] | {"mean": float("nan")}), "finite"),
    ],
)
def test_what_is_written_can_be_read_and_broken_results_cannot(written, tmp_path, capsys, spoil, key):
    root, content = written
    records.save(tmp_path / "again.json", records.load(root / "out/fer.json"))
    assert (tmp_path / "again.json").read_text() == (root / "out/fer.json").read_text()
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(spoil(content)))
    with pytest.raises(SystemExit) as stopped:
        records.load(broken)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith(f"error: {broken}: ")
    assert key in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("path", [Path("results/fashion.json"), Path("results/fer.json")], ids=str)
def test_committed_results_are_read_and_keep_their_shape(path, tmp_path):
    records.save(tmp_path / "again.json", records.load(path))
    assert (tmp_path / "again.json").read_text() == path.read_text()


def test_every_field_of_a_record_is_described():
    for record in vars(records).values():
        if isinstance(record, type) and issubclass(record, records.Record):
            for name in record.__annotations__.keys() - {"model_config"}:
                assert re.search(rf"^ +{name}: \S", record.__doc__, re.M), f"{record.__name__}.{name}"


def test_a_score_that_the_runs_record_is_in_the_results(two):
    for path in two.glob("fer/*/*/metrics.json"):
        record = json.loads(path.read_text())
        record["test"]["brier"] = 0.25
        path.write_text(json.dumps(record))
    results = write.results_of("fer", read_runs(two, "fer"), two, resamples=20)
    assert list(results.arms[0].more_scores) == ["ece", "brier"]
    records.save(two / "fer.json", results)
    assert json.loads((two / "fer.json").read_text())["arms"][0]["brier"]["mean"] == 0.25
    assert records.load(two / "fer.json") == results


def test_a_new_column_is_in_all_three_tables(written, monkeypatch):
    root, _ = written
    column = tables.score_column("new score", lambda arm: arm.f1_macro)
    monkeypatch.setattr(tables, "COLUMNS", [*tables.COLUMNS, column])
    results = records.load(root / "out/fer.json")
    mean = f"{results.arms[0].f1_macro.mean:.3f}"
    assert re.search(rf"\| arm \|.* new score \|\n.*\n\| frozen \|.* {mean} \|\n", tables.markdown(results))
    assert re.search(rf"& new score \\\\\n.*\nfrozen &.* & {mean} \\\\\n", tables.latex(results))
    page, _ = build(root, root / "out")
    assert '<th scope="col">new score</th></tr>' in page
    cells = re.search(r"frozen<small>3 runs</small></th>(.*)</tr>", page)[1]
    assert cells.endswith(f"<td>{str(results.arms[0].f1_macro).replace(' [', '<small>[')}</small></td>")


def test_the_order_of_folders_does_not_matter(written, tmp_path):
    root, content = written
    for strategy in ("gradual", "full", "partial", "frozen"):
        for seed in (2, 0, 1):
            shutil.copytree(root / f"fer/{strategy}/seed{seed}", tmp_path / f"fer/{strategy}/seed{seed}")
    write.write("fer", tmp_path, tmp_path)
    again = json.loads((tmp_path / "fer.json").read_text())
    for each in (content, again):
        each["provenance"].pop("date", None)
    assert again == content


def test_no_path_of_a_machine_is_in_the_results(written):
    root, _ = written
    assert str(root) not in (root / "out/fer.json").read_text()


def test_pairs_use_the_runs_that_both_arms_have(two):
    write_run(two, "fer", "full", seed=2, images=60)
    shutil.rmtree(two / "fer/frozen/seed0")
    content = write.results_of("fer", read_runs(two, "fer"), two, resamples=50)
    frozen, full = (json.loads((two / f"fer/{name}/seed1/metrics.json").read_text()) for name in ("frozen", "full"))
    assert content.pairs[0].runs == 1
    assert content.pairs[0].difference == pytest.approx(frozen["test"]["f1_macro"] - full["test"]["f1_macro"])
    assert content.pairs[0].seeds.p is None
    assert "seeds are not accounted for" in tables.legend(content)


def test_arms_without_a_common_seed_are_not_compared(two, capsys):
    shutil.rmtree(two / "fer/frozen/seed0")
    shutil.rmtree(two / "fer/full/seed1")
    content = write.results_of("fer", read_runs(two, "fer"), two, resamples=50)
    assert content.pairs == []
    assert "not compared" in capsys.readouterr().out


def test_folds_have_test_sets_and_resamples_of_their_own(tmp_path):
    write_runs(tmp_path, "deepweeds", ("frozen", "full"), seeds=(0,), folds=(0, 1), images=80)
    found = Comparison(read_runs(tmp_path, "deepweeds"), range(9), resamples=2000)
    both = found.contrast({"frozen": -1.0, "full": 1.0})
    first = Comparison([run for run in found.runs if run.folder.fold == 0], range(9), resamples=2000).contrast(
        {"frozen": -1.0, "full": 1.0}
    )
    assert found.support.sum() == 160
    other = dataclasses.replace(found.runs[0].folder, fold=1)
    twins = Comparison([found.runs[0], dataclasses.replace(found.runs[0], folder=other)], range(9), resamples=50)
    assert not np.array_equal(*twins.resampled.values())
    assert both.runs == 2
    assert np.diff(both.ci95) == pytest.approx(np.diff(first.ci95) / 2**0.5, rel=0.3)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"trainer__max_epochs": 3}, "trainer.max_epochs (10 and 3)"),
        ({"data__init_args__image_size": 224}, "data.init_args.image_size (48 and 224)"),
        ({"data__init_args__train_fraction": 0.25}, "data.init_args.train_fraction (absent and 0.25)"),
        ({"model__init_args__weights": "mine.pt"}, "model.init_args.weights (None and mine.pt)"),
        ({"model__init_args__lr": 0.01}, "model.init_args.lr (0.001 and 0.01)"),
    ],
)
def test_mixed_runs_are_refused(two, capsys, values, key):
    change(two / "fer/full/seed1", **values)
    error = refused(two, capsys)
    assert key in error
    assert "seed0 and" in error
    assert "fer/full/seed1" in error


def test_arms_may_have_learning_rates_of_their_own(two):
    for seed in (0, 1):
        change(two / f"fer/full/seed{seed}", model__init_args__lr=0.01, run__root="elsewhere", ckpt_path="last")
    (two / "lr_trials/fer").mkdir(parents=True)
    trials = {"lr": 0.01, "trials": [{"lr": 0.01, "val_f1_macro": 0.5, "folder": "somewhere"}]}
    (two / "lr_trials/fer/full.json").write_text(json.dumps(trials))
    frozen, full = write.results_of("fer", read_runs(two, "fer"), two, resamples=20).arms
    assert (frozen.lr, frozen.lr_trials) == (0.001, [])
    assert (full.lr, full.lr_trials) == (0.01, [records.LrTrial(lr=0.01, val_f1_macro=0.5)])


def test_arms_of_one_cost_may_differ_in_epochs(two, capsys):
    for seed in (0, 1):
        change(two / f"fer/frozen/seed{seed}", trainer__max_epochs=30)
    table = {"strategies": ["frozen", "full"], "seeds": [0, 1], "folds": [None], "budget": "epochs"}
    (two / "fer/table.json").write_text(json.dumps(table))
    assert "trainer.max_epochs" in refused(two, capsys)
    (two / "fer/table.json").write_text(json.dumps(table | {"budget": "cost"}))
    assert len(read_runs(two, "fer")) == 4


def test_only_runs_that_the_table_names_count(two):
    write_run(two, "fer", "gradual", seed=0, images=60)
    write_run(two, "fer", "full", seed=0, fold=1, images=60)
    table = {"strategies": ["frozen", "full"], "seeds": [0], "folds": [None], "budget": "epochs"}
    (two / "fer/table.json").write_text(json.dumps(table))
    named = [run.folder for run in read_runs(two, "fer")]
    assert [(run.strategy, run.seed, run.fold) for run in named] == [("frozen", 0, 0), ("full", 0, 0)]


def test_other_test_sets_and_other_training_sets_are_refused(two, capsys):
    write_run(two, "fer", "full", seed=1, images=61)
    assert "different test sets" in refused(two, capsys)
    write_run(two, "fer", "full", seed=1, images=60)
    path = two / "fer/full/seed1/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data_fingerprint": "other"}))
    assert "data_fingerprint" in refused(two, capsys)


def test_damaged_and_unfinished_runs(two, capsys):
    (two / "fer/full/seed1/metrics.json").unlink()
    assert len(read_runs(two, "fer")) == 3
    assert "left out, not tested yet" in capsys.readouterr().out
    (two / "fer/full/seed0/test.npz").write_bytes(b"half")
    assert "seed0/test.npz cannot be read" in refused(two, capsys)
    assert "no finished run" in refused(two, capsys, "deepweeds")


def test_answers_of_another_test_are_refused(two, capsys):
    shutil.copy(two / "fer/full/seed0/test.npz", two / "fer/frozen/seed0/test.npz")
    assert "two different tests" in refused(two, capsys)


def test_a_copy_of_a_run_does_not_count_as_another_seed(two, capsys):
    shutil.copytree(two / "fer/full/seed0", two / "fer/full/seed7")
    assert "fer/full/seed7 holds seed 0 and fold 0" in refused(two, capsys)


def test_table_says_what_letters_mean(written):
    root, content = written
    text = (root / "out/fer.md").read_text()
    full = next(line for line in text.splitlines() if line.startswith("| full"))
    f1 = content["arms"][2]["f1_macro"]
    assert full.endswith("| 3 | a |")
    assert f"{f1['mean']:.3f} [{f1['ci95'][0]:.3f}, {f1['ci95'][1]:.3f}]" in full
    assert "share a letter are not distinguishable" in text
    left = content["arms"][0]["clean"]["images"]
    assert content["arms"][0]["clean"]["left_out"] == content["provenance"]["test_images"] - left
    assert 0 < left < content["provenance"]["test_images"]
    assert re.search(rf"Clean: without images that are byte-identical.* \({left} images are left\)\.", text)
    assert "| F1 | Angry | Disgust |" in text
    assert "\\toprule" in (root / "out/fer.tex").read_text()


@pytest.mark.parametrize(("folds", "left", "leaked"), [(1, 9_999, True), (1, 10_000, False), (3, 3_333, False)])
def test_clean_scores_that_leave_nothing_out_say_so(folds, left, leaked):
    # 3,333 is what 3,333 and 3,334 are in the mean, rounded
    score = records.Interval(mean=0.5, std=None, ci95=None)
    left_out = 1 / folds if leaked else 0.0
    clean = records.Clean(rule="known images left out", images=left, left_out=left_out, accuracy=score, f1_macro=score)
    says = tables.clean_rule(study_of([arm_of("full", score, clean=clean)]))
    assert says == "known images left out " + ("(9,999 images are left)" if leaked else "(there are none)")


def test_one_run_has_no_intervals(tmp_path):
    write_runs(tmp_path, "fashion", ("plain",), seeds=(0,), images=100)
    write.write("fashion", tmp_path, tmp_path / "out")
    content = json.loads((tmp_path / "out/fashion.json").read_text())
    assert content["arms"][0]["f1_macro"]["ci95"] is None
    assert "One run an arm" in (tmp_path / "out/fashion.md").read_text()


def test_readme_is_refreshed_and_stays(tmp_path, written, monkeypatch, capsys):
    root, _ = written
    monkeypatch.chdir(tmp_path)
    block = "<!-- results-{0} -->\nold\n<!-- /results-{0} -->\n"
    Path("README.md").write_text("# Title\n\n" + block.format("fer") + "between\n" + block.format("fashion"))
    Path("docs").mkdir()
    Path("docs/scores.md").write_text("<!-- arms-fer -->\n<!-- /arms-fer -->\n")
    results.main(["--readme", "--out", str(root / "out")])
    once = Path("README.md").read_text()
    table = (root / "out/fer.md").read_text()
    scores, legend, _ = table.split("\n\n")
    assert Path("docs/scores.md").read_text() == f"<!-- arms-fer -->\n{scores}\n\n{legend}\n<!-- /arms-fer -->\n"
    assert once == "# Title\n\n" + block.format("fer").replace("old\n", table) + "between\n" + block.format("fashion")
    assert "results-fashion stays as it is" in capsys.readouterr().out
    results.main(["--readme", "--out", str(root / "out")])
    assert Path("README.md").read_text() == once
    Path("README.md").write_text("<!-- results-fer -->\n")
    with pytest.raises(SystemExit):
        results.main(["--readme", "--out", str(root / "out")])
    assert "has no <!-- /results-fer --> below it" in capsys.readouterr().err


def test_torch_is_not_imported():
    code = "import experiments.results.write, sys; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

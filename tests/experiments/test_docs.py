"""The pages show the code as it is: plans, examples, strategies, numbers, links."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest

from basics.blocks import all_pages, block_names, read_block

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
STRATEGIES = (ROOT / "docs/strategies.md").read_text()


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The strategy of the reader's own, in a file that can be imported; gives the line that plans it."""
    text = read_block("example")
    code = re.search(r"```python\n(.*?)```", text, re.S)[1]
    assert len(code.splitlines()) <= 12
    (tmp_path / "my_strategies.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    return shlex.split(re.search(r"^    lightning (.*)$", text, re.M)[1])


def test_the_example_of_a_strategy_is_planned_and_trained(example, lightning, tiny_transfer, tmp_path, capsys):
    lightning(*example)
    shown = capsys.readouterr().out
    assert "bothends: ResNet" in shown
    assert "│ 1/2   │ 0 to 9 " in shown
    lightning("fit", *example[1:], *tiny_transfer, "--trainer.max_epochs", 2)
    assert "phase 2/2 at epoch 1: stem, layer4 join, " in capsys.readouterr().out
    assert (tmp_path / "runs/fer/bothends/seed0/checkpoints/best.ckpt").is_file()


def test_the_plan_is_what_the_command_prints(lightning, capsys, monkeypatch):
    monkeypatch.setitem(os.environ, "COLUMNS", "80")
    lightning("plan", "--config", "configs/fer_gradual.yaml")
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [line.removeprefix("    ") for line in read_block("plan").splitlines()] == printed


def test_the_explicit_phases_are_accepted(lightning, tmp_path, capsys):
    (tmp_path / "explicit.yaml").write_text(
        "model:\n  init_args:\n    "
        + re.search(r"```yaml\n(strategy:.*?)```", STRATEGIES, re.S)[1].replace("\n", "\n    ")
    )
    lightning("plan", "--config", "configs/fer_full.yaml", "--config", tmp_path / "explicit.yaml")
    shown = capsys.readouterr().out
    assert "layer3 9e-05" in shown
    assert "adapt" in shown


def test_every_strategy_is_in_the_table():
    import transfer

    for name, value in vars(transfer).items():
        if isinstance(value, type) and issubclass(value, transfer.Strategy) and name != "Strategy":
            assert f"`{name}" in STRATEGIES, name


def test_every_generated_block_has_one_page(monkeypatch):
    monkeypatch.chdir(ROOT)
    generated = ["demo", "plan", "probe", "example", "results", "results-fer", "results-fashion", "arms-fer"]
    assert sorted(block_names()) == sorted([*generated, "bench", "cost", "peers"])


def test_the_tables_of_the_results_are_those_of_their_files():
    for study in ("fer", "fashion"):
        assert read_block(f"results-{study}") == (ROOT / f"results/{study}.md").read_text()
    assert read_block("results-fer").startswith(read_block("arms-fer"))


def test_the_numbers_of_the_first_screen_were_measured():
    rows = {row["name"]: row for row in json.loads((ROOT / "benchmarks/results.json").read_text())["rows"]}
    frozen = rows["frozen_epoch"]
    assert f"{frozen['ratio']:.0f} times as fast" in README
    assert f"{frozen['ours']:.3g} s instead of {frozen['peer']:.3g} s" in README
    ranks, buffers = (
        re.search(rf"^\| {name}.*$", read_block("peers"), re.M)[0] for name in ("2 processes", "the frozen")
    )
    ours, lightning, scheduler = [cell.strip() for cell in ranks.split("|")[2:5]]
    assert ours == "0"
    assert f"is {ours}; it is\n  {lightning} with BackboneFinetuning and {scheduler} with finetuning" in README
    assert re.search(r"\| yes \| (\d+) buffers changed", buffers)[1] + " buffers" in README
    arms = {arm["strategy"]: arm for arm in json.loads((ROOT / "results/fer.json").read_text())["arms"]}
    for name in ("frozen", "layerdecay"):
        operations = arms[name]["cost"]["forward_flops"] + arms[name]["cost"]["backward_flops"]
        assert f"with {arms[name]['f1_macro']['mean']:.3f} for {operations / 1e12:.1f} TFLOPs" in README


def anchor(title):
    """Anchor that GitHub makes from the title of a section."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_every_link_between_the_pages_leads_somewhere(monkeypatch):
    monkeypatch.chdir(ROOT)
    links = 0
    for page in [*all_pages(), Path("CONTRIBUTING.md"), Path("CHANGELOG.md"), Path("SECURITY.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
            path, _, section = target.partition("#")
            file = page.parent / path if path else page
            assert file.exists(), f"{page}: {target}"
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.M) if section else []
            assert not section or section in map(anchor, titles), f"{page}: {target}"
            links += 1
    assert links > 20


def test_the_picture_of_the_first_screen_shows_the_results(tmp_path):
    import runpy

    runpy.run_path(str(ROOT / "docs/frontier.py"))["main"](tmp_path / "frontier.svg")
    drawn, shown = (re.sub(r"f\d+-", "", (folder / "frontier.svg").read_text()) for folder in (tmp_path, ROOT / "docs"))
    assert drawn == shown

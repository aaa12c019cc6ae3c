"""The report's page, from synthetic run folders; test_report_browser.py opens it in a real browser."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.report import __main__ as report
from experiments.report import words
from experiments.report.frontier import Point, undominated
from experiments.results.records import Interval
from experiments.results.tables import columns
from tests.experiments.synthetic import write_runs
from tests.experiments.synthetic_results import arm_of, cost_of, pair_of, study_of, write_results

HERE = Path(__file__).parent
SECTIONS = (
    "scores",
    "cost",
    "curves",
    "confusion",
    "classes",
    "mistakes",
    "calibration",
    "phases",
    "hypotheses",
    "pairs",
    "made",
)


class Page(HTMLParser):
    """Ids, links, text of the cells by row, and alt texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.targets, self.alts, self.labels, self.rows, self.source = [], [], [], [], [], text
        self.in_cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.targets += [attrs["href"][1:]] if attrs.get("href", "").startswith("#") else []
        self.alts += [attrs.get("alt")] if tag == "img" else []
        self.labels += [attrs.get("aria-label")] if tag == "svg" and attrs.get("role") == "img" else []
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag):
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self.in_cell:
            self.rows[-1][-1] += data.strip()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run folders, and their results in results/ beside them."""
    root = tmp_path_factory.mktemp("report") / "runs"
    write_runs(root, "fer", ("frozen", "full", "gradual"), seeds=(0, 1))
    write_runs(root, "fashion", ("plain",), seeds=(0,))
    for study in ("fer", "fashion"):
        write_results(root, study, root.parent / "results")
    return root


@pytest.fixture(scope="module")
def page(runs):
    report.main(["--root", str(runs), "--results", str(runs.parent / "results")])
    return Page((runs.parent / "results" / "report.html").read_text())


def test_every_study_has_every_section_and_every_link_leads_somewhere(page):
    for study in ("fer", "fashion"):
        for section in SECTIONS:
            assert f"{study}-{section}" in page.ids
    assert len(page.ids) == len(set(page.ids))
    assert page.targets
    assert set(page.targets) <= set(page.ids)


def test_the_page_needs_no_network_and_is_small(page):
    addresses = set(re.findall(r"(?:https?:)?//[\w.]+", re.sub(r"data:image/\w+;base64,[\w+/=]+", "", page.source)))
    assert addresses <= {"http://www.w3.org"}  # the name space of SVG
    assert "@import" not in page.source
    assert "default-src 'none'" in page.source
    assert len(page.source.encode()) < 3e6


def test_figures_say_what_they_show_in_the_colours_of_the_page(page):
    # fer: cost 2, curves 3, classes 7, calibration 3, phases 3; fashion has one arm, and one figure of each but cost
    assert len(page.labels) == 18 + 4
    assert all(page.labels)
    assert any(re.match(r"Macro-F1 against .*: \w+ is highest with 0\.\d+", label) for label in page.labels)
    assert not re.search(r"#0[123]0[123]0[123]|#0[ab]00", page.source)
    for colour in ("currentColor", "var(--muted)", "var(--rule)", "var(--arm-0)", "var(--arm-2)", "var(--stage-0)"):
        assert colour in page.source.partition("</head>")[2]


def test_the_numbers_are_those_of_the_results_and_the_runs(page, runs):
    results = json.loads((runs.parent / "results" / "fer.json").read_text())
    full = next(arm for arm in results["arms"] if arm["strategy"] == "full")
    low, high = full["f1_macro"]["ci95"]
    shown = f"{full['f1_macro']['mean']:.3f}[{low:.3f}, {high:.3f}]"
    width = 1 + len(columns("scores"))
    assert any("full" in row[0] and row[1] == shown for row in page.rows if len(row) == width)
    matrices = [json.loads((runs / "fer" / "full" / f"seed{s}" / "metrics.json").read_text()) for s in (0, 1)]
    summed = np.sum([record["confusion_matrix"] for record in matrices], axis=0)
    angry = [f"{share:.0f}" for share in 100 * summed[0] / summed[0].sum()]
    assert ["Angry", *angry] in page.rows
    assert f'title="Angry, predicted Angry: {summed[0, 0]}"' in page.source
    pair = next(pair for pair in results["pairs"] if {pair["a"], pair["b"]} == {"full", "gradual"})
    assert not pair["distinguishable"]
    assert any(row[:1] == [f"{pair['a']} − {pair['b']}"] and "not distinguishable" in row for row in page.rows)
    assert sum("seed1" in row[-1] for row in page.rows if row) == 3
    assert f"--config {runs}/fer/frozen/seed0/config.yaml --ckpt_path best" in page.source


def test_phases_and_mistakes(page):
    gradual = [row[1:4] for row in page.rows if len(row) == 7 and "gradual" in row[0] and "+" in row[3]]
    assert gradual == [
        ["2", "2", "+layer4"],
        ["3", "4", "+layer3"],
        ["4", "6", "+layer2"],
        ["5", "8", "+stem…layer1"],
    ]
    assert len(page.alts) == 2 * 12 * 4
    assert all(re.match(r"A .+ taken for .+|The same with the Grad-CAM of .+", alt) for alt in page.alts)


def test_what_is_missing_is_said(runs, tmp_path, capsys):
    root = tmp_path / "runs"
    shutil.copytree(runs / "fer", root / "fer")
    write_results(root, "fer", tmp_path)
    for name in ("test.npz", "mistakes.json", "metrics.csv"):
        for path in root.rglob(name):
            path.unlink()
    report.main(["--root", str(root), "--results", str(tmp_path)])
    text = (tmp_path / "report.html").read_text()
    assert "No run here has a test.npz" in text
    assert "No run here has a mistakes.json" in text
    assert "No run here has a metrics.csv" in text
    shutil.rmtree(root)
    report.main(["--root", str(root), "--results", str(tmp_path)])  # a fresh clone has results, and no runs
    text = (tmp_path / "report.html").read_text()
    assert "run folders are not here" in text
    assert "report.html: 6 runs" in capsys.readouterr().out


def test_results_are_written_anew_only_for_newer_runs(runs, tmp_path, monkeypatch):
    written = []
    module = SimpleNamespace(write=lambda study, root, out: written.append(study))
    monkeypatch.setitem(sys.modules, "experiments.results.write", module)
    report.refresh(runs, tmp_path)
    assert written == ["fashion", "fer"]
    write_results(runs, "fashion", tmp_path)
    write_results(runs, "fer", tmp_path)
    report.refresh(runs, tmp_path)
    assert written == ["fashion", "fer"]
    newest = max(path.stat().st_mtime for path in (runs / "fer").glob("*/*/metrics.json"))
    os.utime(tmp_path / "fer.json", (newest - 5, newest - 5))
    report.refresh(runs, tmp_path)
    assert written == ["fashion", "fer", "fer"]


def test_no_finished_runs(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        report.main(["--root", str(tmp_path / "runs"), "--results", str(tmp_path)])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def interval(f1):
    return Interval(mean=f1, std=0.01, ci95=(f1 - 0.01, f1 + 0.01))


def arm(name, f1, flops):
    return arm_of(name, interval(f1), cost=cost_of(flops))


def pair(a, b, difference, distinguishable):
    return pair_of(a, b, difference, distinguishable, width=0.02)


def test_the_headline_says_what_is_best_and_what_cannot_be_told_apart():
    arms = [arm("frozen", 0.3, 1e12), arm("partial", 0.49, 2e12), arm("full", 0.5, 5e12)]
    far = [pair("frozen", "partial", -0.19, True), pair("frozen", "full", -0.2, True)]
    said = words.headline(study_of(arms, [*far, pair("partial", "full", -0.01, False)]))
    assert said == [
        "full has the highest macro-F1, 0.500 [0.490, 0.510], but cannot be told apart from partial.",
        "It is 0.200 [0.180, 0.220] above frozen.",
        "Of these, partial is the cheapest, with 40% of the operations: full takes 10 TFLOPs and 60 s a run.",
    ]
    said = words.headline(study_of(arms, [*far, pair("partial", "full", -0.01, True)]))
    assert said[0] == "full is best: macro-F1 0.500 [0.490, 0.510], 0.010 [-0.010, 0.030] above partial."
    assert "5.0 times the operations of frozen" in said[2]
    alone = arm_of("frozen", Interval(mean=0.5, std=None, ci95=None), runs=arms[0].runs[:1])
    assert words.headline(study_of([alone]))[-1].startswith("One run an arm")


def test_the_frontier_is_what_nothing_beats_for_less():
    points = [Point("", 0, c, interval(f)) for c, f in ((3, 0.6), (1, 0.2), (2, 0.5), (2, 0.4), (4, 0.55))]
    assert [(point.cost, point.f1.mean) for point in undominated(points)] == [(1, 0.2), (2, 0.5), (3, 0.6)]


def test_text_and_lines_stand_out_in_both_themes():
    """WCAG 2 AA: 4.5 for text, to which the names of arms belong, and 3 for lines."""
    style = Path(report.__file__).with_name("report.html.j2").read_text()
    light, dark = (block.group(1) for block in re.finditer(r":root \{(.*?)\}", style, re.S))
    for theme in (light, dark):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", theme))
        for name, colour in colours.items():
            if name.startswith(("ink", "muted", "link", "good", "bad", "open", "arm")):
                assert contrast(colour, colours["bg"]) >= 4.5, name
                assert contrast(colour, colours["soft"]) >= 4.5 or name.startswith("arm"), name
            if name.startswith("stage"):
                assert contrast(colour, colours["bg"]) >= 3, name
        for name in ("heat", "more", "less"):  # ink on a whole cell of it
            parts = re.search(rf"--{name}: (\d+) (\d+) (\d+)", theme).groups()
            assert contrast("#" + "".join(f"{int(part):02x}" for part in parts), colours["ink"]) >= 4.5, name


def contrast(a, b):
    lights = []
    for colour in (a, b):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        lights.append(float(np.dot(linear, (0.2126, 0.7152, 0.0722))))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_the_page_is_made_without_torch(runs, page):
    """Importing it takes longer than all the figures."""
    code = (
        "import sys; from experiments.report.__main__ import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    )
    arguments = ["--root", str(runs), "--results", str(runs.parent / "results")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, cwd=HERE.parents[2])

"""The report in a real browser: Debian's chromium, headless, as wide as a phone and as a desk, without a network."""

import html
import json
import re
import shutil
import subprocess

import pytest

from experiments.report import __main__ as report
from tests.experiments.synthetic import write_runs
from tests.experiments.synthetic_results import write_results

pytestmark = pytest.mark.browser

# Runs in a copy of the page, which two frames of different widths show; each sends what it finds to the outer page.
PROBE = """<script>
const problems = [];
for (const kind of ["error", "securitypolicyviolation", "unhandledrejection"])
  addEventListener(kind, event => problems.push(kind + " " + (event.message || event.blockedURI)), true);
for (const kind of ["error", "warn"]) console[kind] = (...what) => problems.push(what.join(" "));
addEventListener("load", () => {
  const all = (selector, find) => [...document.querySelectorAll(selector)].map(find);
  const box = node => node.getBoundingClientRect();
  const select = document.querySelector("select"), before = document.querySelector("[id$=difference]").innerText;
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  select.dispatchEvent(new Event("change"));
  parent.postMessage(JSON.stringify({
    width: innerWidth,
    scrolls: document.documentElement.scrollWidth,
    outside: all("section > *, figure > svg", node => box(node).right).filter(right => right > innerWidth + 1).length,
    sections: all("h3", node => [node.id, box(node).height]),
    empty: all("figure > svg", node => box(node).height).filter(height => height < 40).length,
    figures: all("figure > svg", node => node.getAttribute("aria-label")).length,
    columns: new Set(all("figure > svg", node => Math.round(box(node).left))).size,
    hidden: all(".numbers", node => node.scrollWidth - node.parentElement.clientWidth).filter(by => by > 1).length,
    letters: Math.min(...all("figure > svg text", node => box(node.closest("svg")).width
      / node.closest("svg").viewBox.baseVal.width * parseFloat(getComputedStyle(node).fontSize))),
    colours: new Set(all("figure > svg text", node => getComputedStyle(node).fill)).size,
    pictures: all("details[open] img", node => node.naturalWidth),
    focusable: all("a, summary, select, [tabindex='0']", node => node.tabIndex).filter(index => index < 0).length,
    changed: document.querySelector("[id$=difference]").innerText !== before,
    requests: performance.getEntriesByType("resource").filter(entry => !entry.name.startsWith("data:")),
    problems,
  }), "*");
});
</script>"""
OUTER = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0"><script>
addEventListener("message", event => {
  const line = document.createElement("pre");
  line.textContent = event.data;
  document.body.append(line);
});
</script>
<iframe src="page.html" style="width:390px;height:800px;border:0"></iframe>
<iframe src="page.html" style="width:1280px;height:800px;border:0"></iframe>"""


def chromium():
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.fail("no chromium to open the report in: apt-get install chromium", pytrace=False)
    return path


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """What the probe finds at 390 and at 1280 pixels, and what chromium itself says."""
    folder = tmp_path_factory.mktemp("browser")
    write_runs(folder / "runs", "fer", ("frozen", "full", "gradual"), seeds=(0, 1))
    write_runs(folder / "runs", "deepweeds", ("partial", "layerdecay"), seeds=(0,))
    for study in ("fer", "deepweeds"):
        write_results(folder / "runs", study, folder)
    report.main(["--root", str(folder / "runs"), "--results", str(folder)])
    text = (folder / "report.html").read_text()
    (folder / "page.html").write_text(text.replace("<head>", "<head>" + PROBE, 1))
    (folder / "outer.html").write_text(OUTER)
    quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
        "--virtual-time-budget=10000",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ]
    shown = subprocess.run(
        [
            chromium(),
            *quiet,
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1700,1000",
            "--dump-dom",
            (folder / "outer.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    found = [json.loads(html.unescape(line)) for line in re.findall(r"<pre>(.*?)</pre>", shown.stdout)]
    assert sorted(frame["width"] for frame in found) == [390, 1280], shown.stderr[-2000:]
    return {frame["width"]: frame for frame in found}, shown.stderr


@pytest.mark.parametrize("width", [390, 1280])
def test_every_section_is_there_and_no_wider_than_the_window(frames, width):
    frame = frames[0][width]
    assert len(frame["sections"]) == 2 * 11
    assert all(height > 10 for _, height in frame["sections"])
    assert frame["scrolls"] <= width
    assert frame["outside"] == 0
    assert frame["empty"] == 0
    assert frame["figures"] == (2 + 3 + 7 + 3 + 3) + (2 + 2 + 9 + 2 + 2)
    assert frame["pictures"] == [24] * 24 * 2  # of the best arm of both studies
    assert frame["focusable"] == 0


def test_figures_are_one_below_the_other_on_a_phone_and_their_letters_large_enough(frames):
    phone, desk = frames[0][390], frames[0][1280]
    assert phone["columns"] == 1
    assert desk["columns"] >= 3
    assert desk["hidden"] == 0  # no table has to be scrolled at a desk
    assert phone["letters"] >= 9.5
    assert desk["letters"] >= 9
    assert phone["colours"] >= 4  # ink, muted, and those of arms


def test_nothing_is_requested_and_nothing_goes_wrong(frames):
    found, said = frames
    for frame in found.values():
        assert frame["requests"] == []
        assert frame["problems"] == []
        assert frame["changed"]  # the difference, when another arm is chosen
    assert "CONSOLE" not in said

"""The script of a page: its numbers are those of `summary.json`; in a browser, switches, hover, keys, widths, print."""

import dataclasses
import html
import json
import os
import re
import shutil
import subprocess

import pytest
from helpers import small_result
from test_page import PNG, Page

from langevin_ib.output.blocks import Picture, Report
from langevin_ib.output.chart import Chart, Panel
from langevin_ib.output.histogram import styles
from langevin_ib.output.page import page
from langevin_ib.output.plots import closed
from langevin_ib.output.report import run_chart, run_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
PHONE = 390  # CSS pixels


def several():
    """A result in three invariants."""
    result = small_result()
    invariants = {f"z_{i}": result.invariants["z"] for i in range(3)}
    return dataclasses.replace(result, invariants=invariants)


def written(result):
    report = run_report(result)
    return page(report, {"histogram": PNG})


def stored(text):
    """The numbers in a page."""
    (found,) = re.findall(r'<script type="application/json" data-picture="histogram">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


@pytest.mark.parametrize("made", [small_result, several], ids=["one invariant", "three"])
def test_the_numbers_in_a_page_are_those_of_the_summary(made):
    result = made()
    panels = stored(written(result))["panels"]
    summary = json.loads(json.dumps(result.to_dict()))["invariants"]
    assert [panel["scalar"] for panel in panels] == list(summary)
    for panel, invariant in zip(panels, summary.values(), strict=True):
        keys = {"edges": "bins", "mass": "empirical", "mass_se": "empirical_se"}
        assert {key: panel[key] for key in keys} == {key: invariant[own] for key, own in keys.items()}
        assert {name: law["mass"] for name, law in panel["laws"].items()} == {
            name: law["mass"] for name, law in invariant["laws"].items()
        }


def test_a_page_with_numbers_is_whole_without_its_script_and_has_no_reference_outside():
    found = Page(written(small_result()))
    (picture,) = (attributes for name, attributes in found.tags if name == "img")
    assert picture["src"].startswith("data:image/png;base64,")
    for name, attributes in found.tags:
        assert name not in {"link", "iframe", "object", "embed"}
        assert not {"src", "href", "srcset"} & {key for key in attributes if name != "img"}
    assert "http" not in written(small_result())
    assert "@import" not in written(small_result())
    assert "url(" not in written(small_result())


def test_no_name_in_the_numbers_ends_their_element():
    result = small_result()
    invariant = result.invariants["z"]
    name = "</script><script>alert(1)</script>"
    result = dataclasses.replace(result, invariants={name: invariant})
    text = written(result)
    assert text.count("<script") == 2
    assert stored(text)["panels"][0]["scalar"] == name


def test_laws_of_equal_masses_share_a_curve_where_they_do_in_every_panel():
    result = small_result()
    invariant = result.invariants["z"]
    laws = invariant.laws | {"same": dataclasses.replace(invariant.laws["exact"])}
    alike = dataclasses.replace(result, invariants={"z": dataclasses.replace(invariant, laws=laws)})
    verdicts = dict.fromkeys(laws, "agrees")
    abouts = {name: law.about._replace(name=name, place=None) for name, law in laws.items()}
    panel = Panel.of("z", "z", alike.to_dict()["invariants"]["z"])
    chart = Chart.of([panel], styles(abouts.values()), verdicts)
    assert [curve.label for curve in chart.curves] == ["exact = same", "naive"]
    other = dataclasses.replace(panel, laws={name: panel.laws[name] for name in ("exact", "naive")})
    apart = Chart.of([panel, other], styles(abouts.values()), verdicts)
    assert [curve.label for curve in apart.curves] == ["exact", "naive", "same"]


def test_a_curve_has_a_colour_for_either_ground_and_a_dash_of_its_own():
    curves = run_chart(small_result()).to_dict()["curves"]
    assert [(curve["light"], curve["dark"]) for curve in curves] == [("#000000", "#ffffff"), ("#E69F00", "#E69F00")]
    assert len({curve["dash"] for curve in curves}) == len(curves)


def test_a_picture_without_numbers_needs_no_script():
    text = page(Report("x", (Picture("figure", "a figure", lambda: closed(None)),)), {"figure": PNG})
    assert "<script" not in text


LOOKED_AT = """
<script>
const seen = {};
try {
  const all = (what) => [...document.querySelectorAll(what)];
  const legend = () => all(".legend tbody tr").map((row) => row.innerText.replace(/\\s+/g, " ").trim());
  const drawn = () => all(".panel path.curve").map((path) => Number(path.dataset.curve));
  const box = (node) => node.getBoundingClientRect();
  seen.live = all("figure.live").length;
  seen.image = all("figure > img").map((image) => getComputedStyle(image).display);
  seen.drawn = drawn();
  const button = document.querySelector('button[data-curve="1"]');
  seen.buttons = all("button").map((each) => [each.innerText, each.tagName, each.tabIndex]);
  button.click();
  seen.switched = [button.getAttribute("aria-pressed"), drawn()];
  button.click();
  seen.back = [button.getAttribute("aria-pressed"), drawn()];
  const svg = document.querySelector(".panel svg"), bins = JSON.parse(
    document.querySelector("script[data-picture]").textContent).panels[0].mass.length;
  seen.before = legend();
  const place = box(svg), scale = place.width / svg.viewBox.baseVal.width;
  const left = place.left + 46 * scale, width = place.width - 54 * scale;
  svg.dispatchEvent(new PointerEvent("pointermove", { clientX: left + 1.5 * width / bins, clientY: place.top + 20 }));
  seen.hover = [document.querySelector("caption").innerText, legend()];
  svg.dispatchEvent(new PointerEvent("pointerleave", {}));
  seen.left = legend();
  svg.focus();
  seen.focus = document.activeElement === svg;
  const press = (key) => svg.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
  press("ArrowRight"); press("ArrowRight");
  seen.key = [document.querySelector("caption").innerText, svg.getAttribute("aria-valuetext")];
  press("End"); press("ArrowRight");
  seen.end = document.querySelector("caption").innerText;
  press("Escape");
  seen.overflow = document.documentElement.scrollWidth - innerWidth;
  seen.width = innerWidth;
  seen.outside = all("h1, p, li, figure, svg, button, pre").filter((node) => box(node).right > innerWidth + 1)
    .map((node) => node.outerHTML.slice(0, 80));
} catch (error) { seen.error = String(error); }
const said = parent.document.createElement("pre");
parent.document.body.append(Object.assign(said, { id: "seen", textContent: JSON.stringify(seen) }));
</script>
"""


@pytest.fixture(scope="module")
def browser():
    """A browser that runs without a screen, as a command."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser on PATH, of {', '.join(BROWSERS)}: pages are not looked at")
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return [found, "--headless", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", *sandbox]


def opened(browser, folder, *options):
    """What the browser prints of a page in this folder; it says nothing on its console."""
    command = [*browser, f"--user-data-dir={folder / 'profile'}", *options, (folder / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert said == []
    return done.stdout


def looked_at(browser, folder, text, width):
    """What a script finds in a page of this width, that of a frame: no window is as narrow as a phone everywhere."""
    inner = html.escape(text.replace("</body>", f"{LOOKED_AT}</body>"))
    frame = f'<!doctype html><body><iframe style="border:0;width:{width}px;height:844px" srcdoc="{inner}"></iframe>'
    (folder / "page.html").write_text(frame, encoding="utf-8")
    shown = opened(browser, folder, "--virtual-time-budget=5000", "--window-size=1400,1000", "--dump-dom")
    (seen,) = re.findall(r'<pre id="seen">(.*?)</pre>', shown, re.DOTALL)
    seen = json.loads(html.unescape(seen))
    assert "error" not in seen, seen
    return seen


@pytest.mark.full
def test_a_browser_that_says_something_is_heard(browser, tmp_path):
    """The control: the errors that the other tests find none of."""
    (tmp_path / "page.html").write_text("<script>nothing()</script>", encoding="utf-8")
    with pytest.raises(AssertionError, match="nothing is not defined"):
        opened(browser, tmp_path, "--dump-dom")


@pytest.mark.full
@pytest.mark.parametrize("width", [1200, PHONE])
@pytest.mark.parametrize("made", [small_result, several], ids=["one invariant", "three"])
def test_switches_hover_and_keys_work_and_nothing_is_wider_than_the_page(browser, tmp_path, made, width):
    result = made()
    panels = len(result.invariants)
    seen = looked_at(browser, tmp_path, written(result), width)
    assert (seen["live"], seen["image"], seen["width"]) == (1, ["none"], width)
    assert seen["drawn"] == [0, 1, 0, 1] * panels  # densities, and what is left of them
    assert seen["buttons"] == [["exact", "BUTTON", 0], ["naive", "BUTTON", 0]]
    assert seen["switched"] == ["false", [0, 0] * panels]
    assert seen["back"] == ["true", [0, 1, 0, 1] * panels]
    name = next(iter(result.invariants))
    assert seen["hover"][0] == f"{name} in [0.725, 1.15]"
    draws, exact, naive = seen["hover"][1]
    assert draws.startswith("draws ± 95% 0.5000 ± 0.0098")
    assert exact == "exact undecided 0.5000 +0.0 s.e."
    assert naive == "naive differs 0.3000 −40 s.e."
    assert seen["left"] == seen["before"]
    assert seen["before"][1] == "exact undecided – –"
    assert seen["focus"]
    words = f"{name} in [0.725, 1.15]"
    assert seen["key"] == [words, f"{words}: draws 0.5000 ± 0.0098, exact 0.5000, naive 0.3000"]
    assert seen["end"] == f"{name} in [1.575, 2]"
    assert (seen["overflow"], seen["outside"]) == (0, [])


@pytest.mark.full
def test_a_page_that_is_too_wide_is_seen(browser, tmp_path):
    """The control of widths."""
    wide = written(small_result()).replace("<header>", '<header><p style="width: 500px">wide</p>')
    seen = looked_at(browser, tmp_path, wide, PHONE)
    assert seen["overflow"] > 0
    assert seen["outside"]


@pytest.mark.full
@pytest.mark.parametrize("made", [small_result, several], ids=["one invariant", "three"])
def test_a_page_prints_on_two_pages_at_most(browser, tmp_path, made):
    (tmp_path / "page.html").write_text(written(made()), encoding="utf-8")
    printed = tmp_path / "page.pdf"
    opened(browser, tmp_path, "--virtual-time-budget=5000", "--no-pdf-header-footer", f"--print-to-pdf={printed}")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes())) <= 2


@pytest.mark.full
def test_without_scripts_there_is_the_picture(browser, tmp_path):
    text = re.sub(r"<script>.*?</script>", "", written(small_result()), flags=re.DOTALL)
    probe = """<script>parent.document.body.append(Object.assign(parent.document.createElement("pre"), { id: "seen",
    textContent: getComputedStyle(document.querySelector("figure > img")).display }));</script></body>"""
    inner = html.escape(text.replace("</body>", probe))
    frame = f'<!doctype html><body><iframe srcdoc="{inner}"></iframe>'
    (tmp_path / "page.html").write_text(frame, encoding="utf-8")
    assert '<pre id="seen">inline' in opened(browser, tmp_path, "--virtual-time-budget=5000", "--dump-dom")

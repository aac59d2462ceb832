"""The HTML page, in a browser: what a reader sees, and that nothing else is asked for."""

import math

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.signal import Comparison, Signal

from .made import chain, finding, row

SHADED = "return document.getElementById('plots').layout.shapes?.map((s) => [s.x0, s.x1])"
HIGHLIGHTED = "return document.querySelector('tr.highlighted')?.textContent"


def deep(layers=30):
    return nn.Sequential(*[part for _ in range(layers) for part in (nn.Linear(64, 64), nn.ReLU())])


@pytest.fixture(scope="module")
def x():
    return torch.randn(32, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def sick(x, tmp_path_factory):
    net = deep()
    plan = gi.init_(net, "torch_default", inputs=x, seed=0)
    path = tmp_path_factory.mktemp("pages") / "sick.html"
    signal = gi.measure(net, x)
    signal.to_html(path, plan)
    return path, signal


def test_it_draws_and_asks_for_nothing(opened, sick):
    page = opened(sick[0])
    assert page.complaints() == []
    assert page.requests() == []
    assert page.script("return document.title") == "sick: signal"
    # Three plots: forward, backward, cosine of samples; a matrix of vectors has no positions.
    assert page.script("return document.querySelectorAll('#plots .subplot.xy, #plots .subplot.x2y2,"
                       " #plots .subplot.x3y3').length") == 3  # fmt: skip
    verdict = page.script("return document.querySelector('.verdict').textContent")
    assert verdict.startswith("The gradient vanishes")


def test_it_can_send_nothing_either(opened, sick):
    page = opened(sick[0])
    titles = page.script("return Array.from(document.querySelectorAll('.modebar-btn'))"
                         ".map((button) => button.dataset.title)")  # fmt: skip
    assert titles == ["Zoom", "Pan", "Reset axes", "Download plot as a PNG"]
    page.script("fetch('https://example.org/').catch(() => { window.refused = true; })")
    assert page.wait_for("return window.refused")
    assert page.requests() == []
    assert any("Content Security Policy" in line for line in page.complaints())


def test_the_mouse_shows_the_row(opened, sick):
    path, signal = sick
    page = opened(path)
    line = signal["20:linear"]
    for panel in (1, 2, 3):
        tooltip = page.hover(panel, 20)
        assert "20:linear" in tooltip
        assert "32x64" in tooltip
        assert f"second moment {line.forward.second:.3g}" in tooltip
        assert f"cosine of two samples {line.forward.across_samples:.3g}" in tooltip
        assert f"gradient's second moment {line.backward.second:.3g}" in tooltip
    # The calls between the layers too.
    assert "21:relu" in page.hover(1, 21)
    assert page.complaints() == []


def test_findings_lead_to_their_places(opened, sick):
    path, signal = sick
    codes = [f.code for f in signal.findings]
    assert "GI108" in codes
    page = opened(path)
    assert page.script("return document.querySelectorAll('.finding').length") == len(codes)
    # Rings in the plots, with the codes.
    drawn = page.script("return document.getElementById('plots').textContent")
    assert all(code in drawn for code in codes)
    # A link marks the stretch in all plots, and the row.
    page.click(".finding a")  # the gravest: the gradient, from 58 to 0
    assert page.wait_for(SHADED) == [[-0.5, 58.5]] * 3
    assert page.script(HIGHLIGHTED).startswith("0linear")
    assert page.script("return document.getElementById('calls').open")
    # So does a click on a point.
    page.script("document.getElementById('plots').scrollIntoView()")
    page.hover(1, 40)
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(page.driver).click().perform()
    assert page.wait_for(f"return {SHADED.removeprefix('return ')}[0][0] === 39.5")
    assert page.script(HIGHLIGHTED).startswith("40linear")
    assert page.complaints() == []


def test_remedies_can_be_copied(opened, sick):
    page = opened(sick[0])
    page.script("window.copied = []; document.execCommand = (c) => copied.push("
                "document.activeElement.value); navigator.clipboard.writeText = "
                "() => Promise.reject()")  # fmt: skip
    page.click("button[data-copy]")
    assert page.wait_for("return window.copied[0]") == (
        'gi.init_(model, "standard", inputs=inputs, seed=0)'
    )
    assert page.wait_for(
        "return document.querySelector('button[data-copy]').textContent === 'copied'"
    )


def test_the_plan_s_rows_are_there(opened, sick):
    page = opened(sick[0])
    plans = page.script("return document.querySelectorAll('details')[1].textContent")
    assert "torch_default" in plans
    assert "Uniform" in plans
    assert ".weight x30" in plans


def test_recipes_over_each_other(opened, tmp_path):
    fading = chain(*(0.5**layer for layer in range(22)))
    signals = {
        "he": [chain(*[1.0 + seed / 10] * 22) for seed in range(3)],
        "xavier": [Signal(fading.rows, findings=[finding("21:linear")], batch=8)] * 3,
    }
    Comparison(signals).to_html(tmp_path / "both.html")
    page = opened(tmp_path / "both.html")
    assert page.complaints() == []
    assert page.requests() == []
    tooltip = page.hover(1, 20)
    assert tooltip.startswith("he20:linear")  # the first recipe's line
    assert "the median of 3 seeds" in tooltip
    assert page.script("return document.querySelectorAll('#plots .legend .traces').length") == 2
    assert "xavier, 3 of 3 seeds" in page.script("return document.body.textContent")
    # A recipe is switched off in all plots at once.
    hidden = "return document.querySelectorAll('#plots .scatterlayer .trace').length"
    before = page.script(hidden)
    page.click("#plots .legendtoggle")
    page.wait_for(f"{hidden} < {before} * 0.6")


def test_one_seed_of_several_recipes_is_told_as_itself(opened, tmp_path):
    both = Comparison({"one": [chain(1, 1, 1, 1)], "two": [chain(5, 5, 5, 5)]})
    both.to_html(tmp_path / "p.html")
    page = opened(tmp_path / "p.html")
    texts = page.script("return document.getElementById('plots').data.flatMap((t) => "
                        "Array.from(t.hovertext ?? []))")  # fmt: skip
    assert any(t.startswith("two") and "second moment 5" in t for t in texts)
    assert all("second moment 5" in t for t in texts if t.startswith("two"))


# What may come from anybody's model.

NAMES = ["<script>alert(1)</script>", "</script><b>", "a&b", "ünï.日本", "%{x}<br>", "$x^2$",
         "\x1b[1m", "\ud800", "'\"", "a to b, c"]  # fmt: skip


def test_names_are_text_and_nothing_else(opened, tmp_path, sick):
    rows = [row(name, takes=(n - 1,)) for n, name in enumerate(NAMES)]
    codes = [f"GI2{n:02d}" for n in range(len(NAMES))]  # of a recipe, each code is shown once
    found = [finding(each.key, code) for each, code in zip(rows, codes, strict=True)]
    signal = Signal(rows, findings=found, notes=NAMES, batch=8)
    Comparison({name: [signal] for name in NAMES}).to_html(tmp_path / "p.html")
    page = opened(tmp_path / "p.html")
    assert page.complaints() == []
    assert page.requests() == []
    readable = [name.encode("utf-8", "backslashreplace").decode() for name in NAMES]
    places = page.script("return Array.from(document.querySelectorAll('.finding a'))"
                         ".map((place) => place.textContent)")  # fmt: skip
    assert places == [f"{name}:linear" for name in readable] * len(NAMES)
    for name in readable:
        assert name in page.script("return document.querySelector('.summary').textContent")
    scripts = (tmp_path / "p.html").read_text("utf-8").count("<script")
    assert scripts == sick[0].read_text("utf-8").count("<script")
    page.script("document.getElementById('plots').scrollIntoView()")
    for place, name in enumerate(NAMES):
        if name.isprintable():
            assert f"{name}:linear" in page.hover(1, place)


BAD = {
    "NaN": chain(1.0, math.nan, math.nan, math.nan),
    "infinite": chain(1.0, math.inf, 1.0, 1.0),
    "zero": chain(1.0, 0.0, 0.0, 0.0),
    "all zero": chain(0.0, 0.0, 0.0, 0.0, backward=0.0),
    "all NaN": chain(math.nan, math.nan, math.nan, backward=math.nan),
    "huge": chain(1e-300, 1e300, 1e-300, 1e300),
    "without gradient": chain(1.0, 1.0, 1.0, backward=None),
    "one row": chain(1.0),
    "no row": Signal([]),
    "wide error": chain(1.0, 1.0, 1.0, error=1e5),
}


ALIKE = {"zero", "all zero", "all NaN", "infinite", "one row", "wide error"}  # left to the battery


@pytest.mark.parametrize(
    "signal",
    [pytest.param(BAD[n], id=n, marks=[pytest.mark.battery] * (n in ALIKE)) for n in BAD],
)
def test_values_that_no_axis_can_show(opened, tmp_path, signal):
    signal.to_html(tmp_path / "p.html")
    page = opened(tmp_path / "p.html")
    assert page.complaints() == []
    if signal.rows:
        assert page.script("return document.querySelectorAll('tr[id]').length") == len(signal.rows)
        # Places are to be found in the first plot: as a point, or as a cross.
        for place in {0, len(signal.rows) - 1}:
            assert f"{place}:linear" in page.hover(1, place)
    text = page.script("return document.body.innerText")
    assert "undefined" not in text
    assert "None." in text  # no findings


@pytest.mark.battery  # seconds of drawing
def test_thousands_of_calls_stay_usable(opened, tmp_path):
    rows = [row(f"encoder.layers.{n // 6}.part{n % 6}", takes=(n - 1,), across_samples=0.5)
            if n % 3 else row(f"encoder.layers.{n // 6}", "view", "view", takes=(n - 1,))
            for n in range(6000)]  # fmt: skip
    path = tmp_path / "p.html"
    Signal(rows, batch=8).to_html(path)
    page = opened(path)
    assert page.complaints() == []
    assert page.script("return document.querySelectorAll('tr[id]').length") == 4000
    assert not page.script("return document.getElementById('calls').open")
    empty = tmp_path / "empty.html"
    chain(1.0).to_html(empty)
    assert path.stat().st_size - empty.stat().st_size < 6e6  # 1.5 kB a call


def test_a_label_overprints_no_axis_and_no_line(sick):
    from goodinit.report.curves import as_comparison
    from goodinit.report.placed_findings import placed_findings
    from goodinit.report.plot import plotly_figure

    comparison = as_comparison(sick[1])
    traces = plotly_figure(comparison, placed_findings(comparison))["data"]
    labels = {t["text"][0]: t["textposition"][0] for t in traces if t["mode"] == "markers+text"}
    # The gradient's curve rises from the first layer, where its finding is.
    assert labels["GI108"] == "bottom right"
    assert labels["GI104"] == "top left"  # the cosine's curve is level, at 1


def test_a_narrow_screen_has_the_plots_below_each_other(driver, opened, sick):
    metrics = {"width": 420, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page = opened(sick[0])
        page.wait_for("return document.getElementById('plots')._fullLayout.xaxis2.domain[0] === 0")
        assert page.script("return document.documentElement.scrollWidth") == 420
        bottom = "document.querySelector('.main-svg').getBoundingClientRect().bottom"
        assert page.script(
            f"return document.querySelector('h2').getBoundingClientRect().top > {bottom}"
        )
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

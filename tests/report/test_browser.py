"""The report in a real headless Chromium, without a network: Debian's chromium, driven by Playwright.

Run with ``pytest -n 0 -m browser``; needs ``pip install -e '.[browser]'`` and ``apt-get install chromium``.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from report_stores import HOSTILE, SYSTEMS, failed_row, ok_row, some_rows, store_of

from weightbench.report import write_report

pytestmark = pytest.mark.browser

WIDE, PHONE = {"width": 1300, "height": 900}, {"width": 375, "height": 700}
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # Whoever asks for these tests is told when they cannot run; nothing is skipped in silence.
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail("no Playwright: pip install -c constraints.txt -e '.[browser]'")
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("no chromium: apt-get install chromium")
    with sync_playwright() as driver:
        # Root has no sandbox of Chromium's; the page is ours.
        running = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """Opens a report without a network; afterwards nothing may have been asked of it, nor complained of."""
    said: list[str] = []
    contexts = []

    def open_report(path: Path, **settings: Any) -> Any:
        context = browser.new_context(offline=True, **{"viewport": WIDE, **settings})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("request", lambda request: request.url == path.as_uri() or said.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=pictures]")
        assert page.locator("#alarm").is_hidden()
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert said == []


def report_of(folder: Path, rows: list[Any]) -> Path:
    write_report([store_of(folder / "store", rows)], folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_of(tmp_path_factory.mktemp("report"), some_rows(120))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_of(tmp_path_factory.mktemp("large"), some_rows(10_000))


def header(page: Any, title: str) -> Any:
    return page.locator("#cells-table thead th", has_text=title).first


def shown(page: Any, title: str) -> list[str]:
    titles = page.locator("#cells-table thead th").all_inner_texts()
    place = next(place for place, text in enumerate(titles) if text.startswith(title))
    cells = page.locator(f"#cells-table tbody tr > :nth-child({place + 1})")
    return [text.split("\n")[0].strip() for text in cells.all_inner_texts()]


def menu(page: Any, name: str) -> Any:
    return page.locator("#filters").get_by_label(name, exact=True)


def numbers(texts: list[str]) -> list[float]:
    return [float(text.replace(",", "")) for text in texts if text]


def kept(page: Any) -> int:
    found = re.match(r"([\d,]+) of", page.locator("#filters output").inner_text())
    assert found is not None
    return int(found[1].replace(",", ""))


def search(page: Any, words: str) -> None:
    page.fill("#words", words)
    page.wait_for_timeout(250)


def test_sorting(report: Path, opened: Open) -> None:
    page = opened(report)
    header(page, "Ratio").get_by_role("button").click()
    assert header(page, "Ratio").get_attribute("aria-sort") == "descending"
    falling = numbers(shown(page, "Ratio"))
    assert len(falling) == 50
    assert falling == sorted(falling, reverse=True)
    header(page, "Ratio").get_by_role("button").click()
    assert header(page, "Ratio").get_attribute("aria-sort") == "ascending"
    assert numbers(shown(page, "Ratio")) == sorted(numbers(shown(page, "Ratio")))
    header(page, "System").get_by_role("button").click()
    assert header(page, "Ratio").get_attribute("aria-sort") == "none"
    names = shown(page, "System")
    assert names == sorted(names)


def test_filtering(report: Path, opened: Open) -> None:
    page = opened(report)
    assert kept(page) == 120
    menu(page, "System").select_option("elf")
    assert kept(page) == 20
    assert {name.split(" ")[0] for name in shown(page, "System")} == {"elf"}
    search(page, "ratio>1.5")
    assert 0 < kept(page) < 20
    assert min(numbers(shown(page, "Ratio"))) > 1.5
    search(page, "nothing is like this")
    assert (kept(page), page.get_by_text("No cell is like that.").count()) == (0, 1)
    page.get_by_role("button", name="Show all").click()
    page.locator("#filters output", has_text="120 of 120 cells").wait_for()
    page.get_by_label("Systems in the pictures").get_by_role("button", name="zstd").click()
    assert kept(page) == 20


def test_pages_and_columns(report: Path, opened: Open) -> None:
    page = opened(report)
    first = shown(page, "Ratio")
    for _ in range(2):
        page.get_by_role("button", name="next page of cells", exact=True).click()
    assert page.locator("#cells-table .pager span").inner_text() == "101–120 of 120"
    page.get_by_label("rows on a page of cells", exact=True).select_option("500")
    assert len(shown(page, "Ratio")) == 120
    assert shown(page, "Ratio")[:50] == first
    page.get_by_text("Columns", exact=True).click()
    page.locator(".chooser").get_by_label("RMSE").check()
    assert header(page, "RMSE").is_visible()


def test_a_cell_and_its_tensors(report: Path, opened: Open) -> None:
    page = opened(report)
    search(page, "elf")
    page.locator("#cells-table tbody button").first.click()
    cell = page.get_by_role("dialog")
    assert cell.locator("#cell-title").inner_text() == "elf on llama, float32"
    assert "python run.py codec=elf" in cell.locator("pre").first.inner_text()
    cell.get_by_text("layers.2.weight").wait_for()
    assert (
        cell.get_by_text("Log-likelihood").or_(cell.get_by_text("log-likelihood, nats a token")).count() == 1
    )
    cell.get_by_text(re.compile("^All .* fields of the row")).click()
    assert cell.get_by_text("result.speed.decode.mb_per_s.median").is_visible()
    cell.get_by_text(re.compile("^Environment 1")).click()
    assert cell.get_by_text("Some CPU").is_visible()
    cell.get_by_role("button", name="Copy").click()
    page.keyboard.press("Escape")
    assert cell.count() == 0


def test_failures_with_their_reasons(report: Path, opened: Open) -> None:
    page = opened(report)
    table = page.locator("#failures-table")
    assert table.locator("tbody tr").count() == 10
    assert table.get_by_text("reason 1", exact=True).count() == 2
    table.locator("tbody button").first.click()
    page.get_by_role("dialog").locator("pre", has_text="Traceback").wait_for()


def test_pictures_show_what_the_filters_leave(report: Path, opened: Open) -> None:
    page = opened(report)
    points = "name => Bokeh.documents.map(d => d.get_model_by_name('points').data.x.length)"
    everything = page.evaluate(points)
    assert len(everything) == 3
    assert everything[0] == 110
    menu(page, "System").select_option("elf")
    assert page.evaluate(points)[0] == 20
    # A click on a point opens its cell.
    page.evaluate("Bokeh.documents[0].get_model_by_name('points').selected.indices = [3]")
    page.get_by_role("dialog").get_by_role("heading", name="elf on llama, float32").wait_for()


def test_keyboard_alone(report: Path, opened: Open) -> None:
    page = opened(report)
    focused = "document.activeElement.textContent || document.activeElement.id"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "To the table"
    page.keyboard.press("Enter")
    for _ in range(30):
        page.keyboard.press("Tab")
        if str(page.evaluate(focused)).startswith("Ratio"):
            break
    page.keyboard.press("Enter")
    assert header(page, "Ratio").get_attribute("aria-sort") == "descending"
    assert str(page.evaluate(focused)).startswith("Ratio")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('tbody') !== null"):
            break
    before = page.evaluate(focused)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    inside = "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
    for _ in range(60):  # the focus stays inside
        page.keyboard.press("Tab")
        assert page.evaluate(inside)
    page.keyboard.press("Escape")
    assert dialog.count() == 0
    assert page.evaluate(focused) == before


def test_everything_has_a_name(report: Path, opened: Open) -> None:
    page = opened(report)
    nameless = """[...document.querySelectorAll('button, select, input')].filter(e =>
        !(e.tagName === 'BUTTON' && e.textContent.trim()) && !e.ariaLabel && !e.labels?.length
    ).map(e => e.outerHTML)"""
    assert page.evaluate(nameless) == []
    ids = "[...document.querySelectorAll('[id]')].map(e => e.id)"
    assert len(set(page.evaluate(ids))) == len(page.evaluate(ids))


def test_a_phone(report: Path, opened: Open) -> None:
    page = opened(report, viewport=PHONE, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert header(page, "Ratio").bounding_box()["x"] < PHONE["width"]
    page.locator("#cells-table tbody button").first.tap()
    dialog = page.get_by_role("dialog")
    assert dialog.bounding_box()["width"] == PHONE["width"]
    assert dialog.evaluate("e => e.scrollWidth <= e.clientWidth")
    dialog.get_by_role("button", name="close").tap()
    assert dialog.count() == 0


def test_dark_and_light(report: Path, opened: Open) -> None:
    page = opened(report, color_scheme="dark")
    luminance = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    ink = "Bokeh.documents[0].roots()[0].left[0].axis_label_text_color"
    assert page.evaluate(luminance) < 60
    dark = page.evaluate(ink)
    page.emulate_media(color_scheme="light")
    assert page.evaluate(luminance) > 200
    assert page.evaluate(ink) != dark


def test_hostile_rows(tmp_path: Path, opened: Open) -> None:
    rows = [ok_row(f"elf{text}", n, model="llama") for n, text in enumerate(HOSTILE)]
    rows += [failed_row("x", n, text, text) for n, text in enumerate(HOSTILE)]
    page = opened(report_of(tmp_path, rows))
    assert kept(page) == len(rows)
    for place in range(len(rows)):
        page.locator("#cells-table tbody button").nth(place).click()
        page.get_by_role("dialog").wait_for()
        page.keyboard.press("Escape")
    assert page.evaluate("window.hit") is None
    reasons = page.locator("#failures-table tbody tr > :nth-child(3)").all_inner_texts()
    assert {reason.strip() for reason in reasons} == {text.strip() for text in HOSTILE}


def test_printing(report: Path, opened: Open) -> None:
    page = opened(report)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("#filters").is_hidden()
    assert len(shown(page, "Ratio")) == 120
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert len(shown(page, "Ratio")) == 50


def test_ten_thousand_rows(large: Path, opened: Open, capsys: pytest.CaptureFixture[str]) -> None:
    times, start = {}, time.perf_counter()
    page = opened(large)
    times["open"] = time.perf_counter() - start
    assert kept(page) == 10_000
    assert page.locator("#cells-table tbody tr").count() == 50
    for what, act in {
        "sort": lambda: header(page, "Decode").get_by_role("button").click(),
        "filter": lambda: menu(page, "System").select_option(SYSTEMS[0]),
        "cell": lambda: page.locator("#cells-table tbody button").nth(30).click(),
    }.items():
        start = time.perf_counter()
        act()
        times[what] = time.perf_counter() - start
    page.get_by_role("dialog").get_by_text("layers.2.weight").wait_for()
    with capsys.disabled():
        said = ", ".join(f"{what} {seconds:.2f} s" for what, seconds in times.items())
        print(f"\n10,000 rows, {large.stat().st_size / 1e6:.1f} MB: {said}")

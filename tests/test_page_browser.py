"""The report in a real browser: it is silent, its filters and links work, and it fits a phone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import browser
from tests.test_page import Page, made

pytestmark = pytest.mark.skipif(
    browser.found() is None, reason=f"no browser on PATH (looked for {', '.join(browser.NAMES)})"
)
SHOWN = "[...document.querySelectorAll('#verdicts tbody tr')].filter((row) => row.offsetHeight > 0)"
PHONE = 360  # CSS pixels


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    made(folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def rows(report: Path) -> list[dict[str, str]]:
    """Attributes of the rows, read without a browser, with their words."""
    page = Page(report.read_text())
    return [{**attributes, "words": page.text(attributes["id"]).lower()} for attributes in page.rows()]


@pytest.fixture(scope="module")
def window(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    opened = browser.Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def desk(window: browser.Browser, report: Path) -> browser.Browser:
    """The report in a window of a desktop."""
    window.open(report)
    return window


def choose(desk: browser.Browser, **values: str) -> list[str]:
    """Ids of the rows shown under those values of the filters, all others at "all"."""
    desk.evaluate("document.querySelector('#filters [type=reset]').click()")
    for name, value in values.items():
        field = f"document.getElementById('filters').elements[{name!r}]"
        desk.evaluate(f"{field}.value = {value!r}, {field}.dispatchEvent(new Event('input', {{bubbles: true}}))")
    return list(desk.evaluate(f"new Promise((done) => setTimeout(() => done({SHOWN}.map((row) => row.id)), 20))"))


def test_it_is_silent_and_asks_for_nothing_but_itself(desk: browser.Browser, report: Path) -> None:
    assert desk.said == []
    assert [address for address in desk.asked if not address.startswith("data:")] == [report.resolve().as_uri()]
    pictures = "[...document.images].filter((image) => !image.complete || image.naturalWidth != image.getAttribute('width')).length"
    assert desk.evaluate(pictures) == 0
    assert desk.evaluate("document.images.length") > 50


def test_each_filter_shows_the_rows_that_have_its_value(desk: browser.Browser, rows: list[dict[str, str]]) -> None:
    assert choose(desk) == [row["id"] for row in rows]
    for name in ("paper", "tier", "verdict", "expected"):
        values = desk.evaluate(f"[...document.getElementById('by-{name}').options].map((o) => o.value).slice(1)")
        assert len(values) > 1
        for value in values:
            wanted = [
                r["id"] for r in rows if value in (r[f"data-{name}"].split() if name == "tier" else [r[f"data-{name}"]])
            ]
            assert 0 < len(wanted) < len(rows)
            assert choose(desk, **{name: value}) == wanted


def test_filters_work_together_and_say_how_many_are_left(desk: browser.Browser, rows: list[dict[str, str]]) -> None:
    some = {"paper": "stability_gap", "tier": "small", "expected": "no", "text": "ER  gap"}
    wanted = [
        row["id"] for row in rows
        if (row["data-paper"], row["data-tier"], row["data-expected"]) == ("stability_gap", "small", "no")
        and "er" in row["words"] and "gap" in row["words"]
    ]  # fmt: skip
    assert wanted
    assert choose(desk, **some) == wanted
    said = desk.evaluate("document.getElementById('count').textContent")
    assert said == f"{len(wanted)} of {len(rows)} rows shown; {len(wanted)} judged, 0 of them as expected."
    assert choose(desk, text="no such words") == []
    assert len(choose(desk)) == len(rows)


def test_filters_can_be_used_from_the_keyboard_alone(desk: browser.Browser, rows: list[dict[str, str]]) -> None:
    choose(desk)
    desk.evaluate("document.querySelector('#filters select').focus()")
    focused = "document.activeElement.id || document.activeElement.type"
    order = [desk.evaluate(focused)]
    for _ in range(5):
        desk.press("Tab", 9)
        order.append(desk.evaluate(focused))
    assert order == ["by-paper", "by-tier", "by-verdict", "by-expected", "by-text", "reset"]
    desk.evaluate("document.getElementById('by-text').focus()")
    desk.type("momentum")
    shown = desk.evaluate(f"{SHOWN}.map((row) => row.id)")
    assert shown == [row["id"] for row in rows if "momentum" in row["words"]]
    assert 0 < len(shown) < len(rows)


def test_every_link_leads_to_a_place_and_shows_it(desk: browser.Browser, rows: list[dict[str, str]]) -> None:
    links = "[...document.querySelectorAll('a[href]')]"
    assert (
        desk.evaluate(f"{links}.filter((a) => !document.getElementById(decodeURIComponent(a.hash.slice(1)))).length")
        == 0
    )
    assert desk.evaluate(f"{links}.every((a) => a.getAttribute('href').startsWith('#'))")
    hidden = next(row["id"] for row in rows if row["data-tier"] == "small")
    assert hidden not in choose(desk, tier="smoke")
    desk.evaluate(f"location.hash = {hidden!r}")
    place = f"document.getElementById({hidden!r}).getBoundingClientRect()"
    top = desk.evaluate(f"new Promise((done) => setTimeout(() => done({place}.top), 100))")
    assert 0 <= top < 900
    assert desk.evaluate(f"{place}.height") > 0
    assert desk.said == []


def test_details_open_and_hold_their_words(desk: browser.Browser) -> None:
    seen = "document.querySelector('#verdicts details dl').checkVisibility()"
    assert not desk.evaluate(seen)
    desk.evaluate("document.querySelector('#verdicts summary').click()")
    assert desk.evaluate(seen)


@pytest.mark.parametrize("open_all", [False, True])
def test_nothing_is_wider_than_a_phone(window: browser.Browser, report: Path, open_all: bool) -> None:
    window.open(report, PHONE, 740)
    if open_all:
        window.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    wide: Any = window.evaluate("[innerWidth, document.documentElement.scrollWidth]")
    assert wide == [PHONE, PHONE]
    small = (
        "[...document.querySelectorAll('p, td, th, li, dd, figcaption, label')]"
        ".filter((one) => one.offsetHeight && parseFloat(getComputedStyle(one).fontSize) < 12).length"
    )
    assert window.evaluate(small) == 0  # letters of at least 12 pixels
    boxes = "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth)"
    assert window.evaluate(f"{boxes}.every((box) => box.tabIndex === 0 && box.getAttribute('aria-label'))")
    assert window.said == []


def test_on_paper_there_are_no_controls_and_nothing_is_cut(window: browser.Browser, report: Path) -> None:
    window.open(report, 720, 1000)
    window.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert window.evaluate("document.getElementById('filters').offsetHeight") == 0
        assert window.evaluate("document.documentElement.scrollWidth") <= 720
        assert window.evaluate("document.querySelector('#verdicts thead').offsetHeight") > 0
    finally:
        window.call("Emulation.setEmulatedMedia", media="")

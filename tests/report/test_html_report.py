"""The report as a page, as people see it: in Chromium, on a desk and on a phone, light, dark and printed."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pypdf
import pytest

from activities.platform_api import report as api_report
from activities.report import as_html
from devstack.chromium import Chromium
from tests.report.browser import DESK, PHONE, Page, page
from tests.report.statuses import BATCHES, HOSTILE, contents

LOOKS = (Path(__file__).parent / "looks.js").read_text()

COLOURS = """(async () => {
  const image = new Image()
  image.src = "data:image/png;base64,%s"
  await image.decode()
  const canvas = new OffscreenCanvas(image.width, image.height)
  const context = canvas.getContext("2d")
  context.drawImage(image, 0, 0)
  const pixels = new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer)
  return [image.width, image.height, new Set(pixels).size]
})()"""
"""Width, height, and how many colours a screenshot has."""


def api_test(expect: str | None, contrary: int = 0, unclear: int = 0, *, control: bool = True) -> dict[str, Any]:
    """The report of an API test of 2,000 people, as JSON."""
    nothing = dict.fromkeys(("p50", "p90", "p95", "p99", "max"))
    return {
        "run_id": "api-test-91c2",
        "job_id": HOSTILE,
        "expect": expect,
        "contributors": 2_000,
        "asked": 2_000,
        "verdicts": {"as expected": 2_000 - contrary - unclear, "contrary": contrary, "unclear": unclear},
        "fetches": {"SYSTEM_ERROR": 2_000 - contrary, "OK": contrary} if contrary else {"SYSTEM_ERROR": 2_000},
        "commits": {"OK": contrary} if contrary else {},
        "control": control,
        "started_at": "2026-03-02T09:30:00+00:00",
        "ended_at": "2026-03-02T09:31:12+00:00",
        "latency_ms": {"fetch": {"count": 2_000, **nothing, "p50": 12.1}, "commit": {"count": contrary, **nothing}},
        "lines": {"contrary": list(range(2, 2 + contrary)), "unclear": list(range(1_000, 1_000 + unclear))},
    }


def batch(name: str) -> str:
    """The page of a batch."""
    return as_html(contents(name))


PAGES: dict[str, Callable[[], str]] = {
    **{name: partial(batch, name) for name in BATCHES},
    "api-test-proven": lambda: api_report.as_html(api_test("erased")),
    "api-test-contrary": lambda: api_report.as_html(api_test("erased", 500, 7, control=False)),
}

VERDICTS = {
    "erased": "Erased, not verified",
    "proven": "Erased and proven",
    "partly-proven": "Erased with warnings, not wholly proven",
    "residuals": "Not fully erased: residuals were found",
    "rolled-back": "Rolled back, but for redis: that was not put back",
    "refused": "Refused by the check: nothing was touched",
    "running": "Still running",
    "parked": "Not finished: it waits for somebody",
    "long-lists": "Erased with warnings, not wholly proven",
    "api-test-proven": "All are erased, as expected",
    "api-test-contrary": "Not all are erased",
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    started = Chromium(tmp_path_factory.mktemp("chromium"), tied=True)
    started.start()
    yield started.url
    started.stop()


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(name: str) -> Path:
        path = tmp_path / f"{name}.html"
        path.write_text(PAGES[name](), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("name", PAGES)
async def test_everybody_can_read_it_on_any_screen(name: str, browser: str, written: Callable[[str], Path]) -> None:
    file = written(name)
    async with page(browser) as tab:
        for size, dark in ((PHONE, False), (PHONE, True), (DESK, False), (DESK, True)):
            await tab.open(file, size, dark=dark)
            screenshot = await tab.screenshot()
            looks = await tab.evaluate(LOOKS)
            assert looks["first"] == looks["verdict"]["title"] == VERDICTS[name]
            assert 0 < looks["verdict"]["top"] < looks["verdict"]["bottom"] < size[1], "seen without scrolling"
            assert (looks["width"], looks["wide"]) == (size[0], []), "nothing is beyond the edge of the screen"
            assert looks["paper"] < 0.05 if dark else looks["paper"] > 0.95
            assert len(looks["texts"]) > 25
            assert not [each for each in looks["texts"] if "`" in each["text"] or "<code>" in each["text"]]
            assert [each for each in looks["texts"] if each["contrast"] < 4.5] == []
            assert looks["shapes"]
            assert [each for each in looks["shapes"] if each["contrast"] < 3] == []
            await _is_no_blank(tab, screenshot, size)
            shade = "dark" if dark else "light"
            file.with_name(f"{name}-{size[0]}-{shade}.png").write_bytes(screenshot)
        assert (looks["headings"], looks["twice"], looks["dangling"], looks["unnamed"]) == (1, [], [], 0)
        assert looks["foreign"] == 0
        assert set(tab.requests) == {file.as_uri()}, "it loads nothing"
        assert tab.complaints == []


async def _is_no_blank(tab: Page, screenshot: bytes, size: tuple[int, int]) -> None:
    width, height, colours = await tab.evaluate(COLOURS % base64.b64encode(screenshot).decode())
    assert (width, height) == size
    assert colours > 20


@pytest.mark.parametrize("name", ["residuals", "rolled-back", "long-lists", "api-test-contrary"])
async def test_it_is_printed_whole_on_a4(name: str, browser: str, written: Callable[[str], Path]) -> None:
    async with page(browser) as tab:
        await tab.open(written(name), dark=True)
        printed = pypdf.PdfReader(io.BytesIO(await tab.pdf()))
        colour = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colour != "rgb(255, 255, 255)", "its owner prefers dark pages"
    texts = [" ".join(sheet.extract_text().split()) for sheet in printed.pages]
    assert {(round(sheet.mediabox.width), round(sheet.mediabox.height)) for sheet in printed.pages} == {(595, 842)}
    assert texts[0].startswith(f"1 / {len(texts)} {VERDICTS[name]}")
    assert not any(_paints_dark(sheet) for sheet in printed.pages), "paper is light"
    rows = (
        []
        if name.startswith("api")
        else [
            f"{place.name} {place.before:,} {place.changed:,} {place.after:,}"
            for phase in contents(name).status.phases
            for place in contents(name).places(phase)
        ]
    )
    whole = [text.replace(" ", "") for text in texts]
    cut = [row for row in rows if not any(row.replace(" ", "") in text for text in whole)]
    assert cut == [], "what is folded on screens is opened, and no row is cut by the end of a sheet"


def _paints_dark(sheet: pypdf.PageObject) -> bool:
    """Whether a sheet is filled with the dark screen's colour."""
    content = sheet.get_contents()
    assert content is not None
    dark = " ".join(f"{part / 255:.4f}".strip("0") for part in (0x11, 0x15, 0x1A))
    return f"{dark} rg".encode() in content.get_data()


@pytest.mark.parametrize("name", ["residuals", "api-test-contrary"])
async def test_what_names_and_reasons_hold_is_shown_and_never_taken_for_a_page(
    name: str, browser: str, written: Callable[[str], Path]
) -> None:
    async with page(browser) as tab:
        await tab.open(written(name))
        text = await tab.evaluate("document.body.innerText")
        foreign = await tab.evaluate("document.querySelectorAll('script, img').length")
    assert HOSTILE in " ".join(text.split())
    assert foreign == 0


async def test_a_page_that_was_altered_to_load_something_is_not_given_it(browser: str, tmp_path: Path) -> None:
    file = tmp_path / "altered.html"
    file.write_text(as_html(contents("proven")).replace("<main>", f"<main>{HOSTILE.partition('</style>')[2]}"))
    async with page(browser) as tab:
        await tab.open(file)
        (complaint,) = tab.complaints
    assert "https://example.invalid/x" in complaint
    assert "violates the following Content Security Policy" in complaint


async def test_what_nobody_counted_is_not_told_as_nothing(browser: str, written: Callable[[str], Path]) -> None:
    async with page(browser) as tab:
        await tab.open(written("refused"))
        refused = await tab.evaluate("document.body.innerText")
        await tab.open(written("running"))
        running = await tab.evaluate("document.body.innerText")
    assert "Before and after" not in refused
    assert "nothing of the batch was found" not in refused
    assert "Ended\n2026-03-02 09:14:08 UTC" in refused
    assert running.count("not counted") >= 5
    assert "nothing is proven yet" in running

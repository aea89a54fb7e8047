"""The page in a real browser: it lays out at any width, in both colour schemes, and fetches nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from harness.report.page import html_page
from tests.support.run_results import clip, mixed_run, run, speech
from tests.support.waiting import PATIENCE

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium: sudo apt-get install chromium")

_PROBE = """
<script>
addEventListener("load", () => {
  const all = selector => [...document.querySelectorAll(selector)];
  const style = (e, name) => getComputedStyle(e)[name];
  document.title = JSON.stringify({
    width: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    curves: all(".area svg").filter(e => e.getBoundingClientRect().width > 20).length,
    verdict: document.querySelector(".verdict .word").getBoundingClientRect().top,
    smallest: Math.min(...all("span, p, td, dd").map(e => parseFloat(style(e, "fontSize")))),
    paper: style(document.body, "backgroundColor"),
    ink: style(document.body, "color"),
    fetched: performance.getEntriesByType("resource").length,
    alerted: window.alerted === true,
  });
});
</script>
"""


_NARROWEST = 500
"""Pixels: Chromium makes no window that is narrower, so a phone is a frame in one."""
_PHONE = """
<title></title><body style="margin:0"><iframe id="page" src="page.html" style="border:0;width:{width}px"></iframe>
<script>addEventListener("load", () => document.title = page.contentDocument.title)</script>
"""


def _look(tmp_path: Path, page: str, *, width: int, dark: bool = False) -> dict[str, object]:
    """Lay a page out, and return what a script finds; the page's own policy forbids scripts, so it is lifted here."""
    assert BROWSER is not None
    path = tmp_path / "page.html"
    lifted = re.sub(r"<meta http-equiv[^>]*>", "", page)
    path.write_text(lifted.replace("</body>", f"{_PROBE}</body>"), errors="replace")
    if width < _NARROWEST:
        path = tmp_path / "phone.html"
        path.write_text(_PHONE.format(width=width))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    flags += ["--allow-file-access-from-files", f"--window-size={max(width, _NARROWEST)},1000"]
    flags += [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    done = subprocess.run(
        [BROWSER, *flags, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None
    result = json.loads(unescape(title[1]))
    assert isinstance(result, dict)
    return result


@pytest.mark.parametrize("width", [1180, 500, 360])
def test_it_fits_its_window_and_can_be_read(tmp_path: Path, width: int) -> None:
    result = _look(tmp_path, html_page([mixed_run()]), width=width)
    assert result["width"] == 0
    assert result["curves"] == 7
    assert float(str(result["verdict"])) < 120
    assert float(str(result["smallest"])) >= 11
    assert result["fetched"] == 0


def test_dark_is_dark_and_light_is_light(tmp_path: Path) -> None:
    def brightness(colour: object) -> int:
        return sum(map(int, re.findall(r"\d+", str(colour))[:3]))

    light = _look(tmp_path, html_page([mixed_run()]), width=1180)
    dark = _look(tmp_path, html_page([mixed_run()]), width=1180, dark=True)
    assert brightness(light["paper"]) - brightness(light["ink"]) > 450
    assert brightness(dark["ink"]) - brightness(dark["paper"]) > 450


def test_a_hostile_name_runs_nothing_and_breaks_no_layout(tmp_path: Path) -> None:
    name = '<img src=x onerror="window.alerted=true"><script>window.alerted=true</script>' + "x" * 500
    outputs = speech(3, 1.5)
    result = _look(tmp_path, html_page([run([clip(name, outputs, outputs)], model=name)]), width=500)
    assert result["alerted"] is False
    assert result["width"] == 0

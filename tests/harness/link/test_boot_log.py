"""What a board printed is reported without colours, and without what ESPHome conceals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.link.reader import BootLog, plain


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("\x1b[0;32m[I][app:102]: ready\x1b[0m", "[I][app:102]: ready"),
        ("  SSID: \x1b[8m'home'\x1b[28m end", "  SSID: [concealed] end"),
        ("psk: \x1b[5mhunter2\x1b[6m", "psk: [concealed]"),
        ("cut: \x1b[8mhunter2", "cut: [concealed]"),
        ("cut: \x1b[8mhunter2\nnext", "cut: [concealed]\nnext"),
        ("\x1b]0;owned\x07\u202e\0", "\ufffd]0;owned\ufffd\ufffd\ufffd"),
        ("a \x1b[8mone\x1b[28m b \x1b[8mtwo\x1b[28m", "a [concealed] b [concealed]"),
    ],
)
def test_colours_and_secrets_are_taken_out(printed: str, told: str) -> None:
    assert plain(printed) == told


@given(st.text(st.characters(exclude_characters="\x1b\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"), min_size=3))
def test_no_secret_gets_through(secret: str) -> None:
    assert plain(f"key: \x1b[8m{secret}\x1b[28m.") == "key: [concealed]."


def test_the_story_is_why_it_started_and_what_came_before() -> None:
    log = BootLog()
    assert log.story() is None
    for line in ("hello", "Guru Meditation Error: Core 0 panic'ed", "Backtrace: 0x4", "ESP-ROM:esp32s3"):
        log.add(line)
    log.add("rst:0xc (RTC_SW_CPU_RST),boot:0x8 (SPI_FAST_FLASH_BOOT)")
    log.add("ready")
    story = "hello | Guru Meditation Error: Core 0 panic'ed | Backtrace: 0x4 | ESP-ROM:esp32s3 | ready"
    assert log.story() == f"reset reason 0xc (RTC_SW_CPU_RST); its log: {story}"


def test_a_log_without_end_takes_no_more_room() -> None:
    log = BootLog()
    for number in range(10_000):
        log.add(f"{number} " + "x" * 10_000)
    assert len(log.story() or "") < 1000


def test_a_log_is_not_cut_where_it_is_cleaned() -> None:
    text = "rst:0x10 (RTCWDT_RTC_RST)\r\n" + "boot: a line\r\n" * 200
    assert plain(text) == text

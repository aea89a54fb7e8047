"""Every page that the product, a hint or another page names exists."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)")
NAMED = re.compile(r"docs/[\w./-]+\.(?:md|json)")


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split()]


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in tracked("*.md")
        for link in LINK.findall(page.read_text("utf-8"))
        if "://" not in link and not (page.parent / link).exists()
    ]
    assert broken == []


def test_every_page_that_code_names_exists() -> None:
    absent = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in tracked("*.py", "*.cpp", "*.h", "*.j2", "*.yaml", "*.toml")
        if "tests" not in path.parts
        for name in NAMED.findall(path.read_text("utf-8", errors="replace"))
        if not (ROOT / name).exists()
    ]
    assert absent == []

"""Memory: ten hours of sound against one hour, and the size of the report page."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness.bench.inputs import feature_file, manifest, wav_file
from harness.bench.measuring import BUG, Goal, Plan, Row
from harness.bench.programs import measuring_peak, mww, run
from harness.report.bundle import PAGE
from mww.core.errors import BenchmarkError

_MB: Final = 1e6


def memory(plan: Plan) -> list[Row]:
    """Run one hour and ten hours, once each: unlike time, a peak does not vary between runs."""
    peaks = []
    for hours in (10, 1):
        plan.report(f"{hours} hours")
        seconds = hours * plan.size(3600, 1)
        sound = wav_file(plan.scratch / f"{hours}.wav", seconds=seconds)
        peak = plan.scratch / "peak"
        finished = run(measuring_peak(peak, mww("run", manifest(), "--wav", sound, "--json")))
        sound.unlink()
        (clip,) = finished.document["clips"]
        if not seconds * 100 - 10 < clip["slices"] <= seconds * 100:
            raise BenchmarkError(f"{seconds} seconds of sound became {clip['slices']} slices", hint=BUG)
        peaks.append(int(peak.read_text()) / _MB)
    return [
        Row(
            what="`mww run --wav`, ten hours: peak of its largest process",
            against="one hour",
            unit="MB",
            own=(peaks[0],),
            reference=(peaks[1],),
            comparison="difference",
            goal=Goal("at most", 20.0),
            same="the command; once each, since a peak does not vary as times do",
        )
    ]


def page(plan: Plan) -> list[Row]:
    """Write the report of ten hours in one clip, and of a thousand clips."""
    long = feature_file(plan.scratch / "long.npz", clips=1, seconds=plan.size(36_000, 20))
    many = feature_file(plan.scratch / "many.npz", clips=plan.size(1000, 5), seconds=5)
    return [_page(plan, "ten hours in one clip", long), _page(plan, "a thousand clips", many)]


def _page(plan: Plan, what: str, clips: Path) -> Row:
    plan.report(what)
    folder = plan.scratch / "report"
    run(mww("run", manifest(), "--features", clips, "--report", folder, "--json"))
    return Row(
        what=f"the page of {what}",
        against="the goal alone",
        unit="MB",
        own=((folder / PAGE).stat().st_size / _MB,),
        reference=(),
        comparison="value",
        goal=Goal("at most", 5.0),
        same="nothing; measured once, since a size does not vary",
    )

"""`mww features`: sound to the features that the model hears."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from harness.cli.numbers import Real, Whole
from harness.cli.output import emit_json, json_option, progress, say, warn
from harness.clips.clip import AudioClip, audio_clips, feature_note
from harness.clips.npz import write_archive
from mww.core.progress import Progress
from mww.esphome.audio import left_out_of
from mww.esphome.contract import FEATURE_STEP_MS, MAX_LEAD_IN
from mww.esphome.frontend import quantize_features, wav_to_features


@click.command("features")
@click.argument("clips", metavar="CLIP.wav...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), metavar="FILE.npz", help="Where to.")
@click.option(
    "--lead-in",
    type=Real(0, MAX_LEAD_IN),
    default=0.0,
    metavar="SECONDS",
    help="Digital silence in front of each clip.",
)
@click.option(
    "--feature-step-size",
    type=Whole(1, 30),
    default=FEATURE_STEP_MS,
    show_default=True,
    metavar="MS",
    help="Milliseconds a slice, as in the model's manifest.",
)
@click.option("--raw", is_flag=True, help="The front-end's uint16 instead of the model's int8.")
@json_option
def command(
    clips: tuple[Path, ...], output: Path, lead_in: float, feature_step_size: int, raw: bool, as_json: bool
) -> None:
    """Write the features of sound files, or of all sound files in a folder.

    Each clip is an array [slices, 40], named by its path.
    """
    chosen = audio_clips(clips, lead_in=lead_in, step_ms=feature_step_size)
    for sentence in left_out_of(clips):
        warn(sentence)
    slices: dict[str, int] = {}
    with progress() as report:
        write_archive(output, _arrays(chosen, raw, slices, report), note=feature_note(lead_in, feature_step_size))
    if as_json:
        entries = [{"name": name, "slices": count} for name, count in slices.items()]
        dtype = "uint16" if raw else "int8"
        made = {"dtype": dtype, "lead_in": lead_in, "feature_step_size": feature_step_size}
        emit_json("mww.features/1", {"features": str(output), **made, "clips": entries})
        return
    clips_read = "1 clip" if len(slices) == 1 else f"{len(slices)} clips"
    say(f"{output}: {clips_read}, {sum(slices.values())} slices")


def _arrays(
    clips: tuple[AudioClip, ...], raw: bool, slices: dict[str, int], report: Progress
) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
    """Read one clip at a time, and note its length."""
    for clip in clips:
        features = wav_to_features(clip.path, lead_in=clip.lead_in, step_ms=clip.step_ms)
        slices[clip.name] = len(features)
        yield clip.name, features if raw else quantize_features(features)
        report("features", len(slices), len(clips))

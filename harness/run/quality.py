"""The quality of a model on the labelled clips of a run, and the gate on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from sys import float_info

from harness.clips.clip import Clip
from harness.run.evaluation.labels import Label, LabelKind
from harness.run.evaluation.statistics import Evaluation, LabelledOutputs, Rule, evaluate
from harness.run.judging import Judge, Observed
from harness.run.options import RunOptions
from harness.run.results import Problem
from mww.core.errors import UsageError
from mww.core.readable import shown


def evaluate_clips(
    judge: Judge, clips: Sequence[Clip], seen: Sequence[Observed], labels: Mapping[str, Label]
) -> Evaluation | None:
    """Recall and false accepts over the labelled clips that ran."""
    model = judge.model
    labelled = [
        LabelledOutputs(
            name=clip.name,
            label=labels[clip.name],
            outputs=observed.outputs,
            seconds=max(0.0, observed.streamed.slices * model.feature_step_size / 1000 - clip.lead_in),
            lead_in=clip.lead_in,
            vad=judge.gate(observed),
        )
        for clip, observed in zip(clips, seen, strict=True)
        if clip.name in labels and observed.streamed.error is None
    ]
    rule = Rule(model.sliding_window_size, model.stride, model.feature_step_size)
    return evaluate(labelled, rule, model.cutoff_byte) if labelled else None


def check_gate(options: RunOptions, kinds: Collection[LabelKind]) -> None:
    """Refuse a limit without clips to judge.

    Raises:
        UsageError: A limit of recall without positive clips, or of false accepts without negative clips.
    """
    limits = (
        ("--min-recall", options.min_recall),
        ("--max-false-accepts-per-hour", options.max_false_accepts_per_hour),
    )
    for (flag, limit), kind in zip(limits, ("positive", "negative"), strict=True):
        if limit is not None and not 0 <= limit <= (1 if kind == "positive" else float_info.max):
            raise UsageError(f"{flag} {shown(limit)}", hint="0 to 1" if kind == "positive" else "0 or more")
        if limit is not None and kind not in kinds:
            hint = f"put clips into a folder named {kind}, or label them with --labels FILE.csv"
            raise UsageError(f"{flag} without {kind} clips", hint=hint)


def quality_problems(options: RunOptions, evaluation: Evaluation | None) -> tuple[Problem, ...]:
    """A problem for each limit that the run does not meet."""
    if evaluation is None:
        return ()
    recall, accepts = evaluation.at.recall, evaluation.at.false_accepts
    command = "mww cutoff MANIFEST --clips DIR"
    if options.lead_in:  # with another one, other clips are detected
        command += f" --lead-in {options.lead_in:g}"
    problems = []
    if options.min_recall is not None and (recall.value or 0.0) < options.min_recall:
        message = f"recall is {recall.value or 0.0:.3f} ({recall.hits} of {recall.trials} clips), below "
        message += f"{options.min_recall:g}"
        hint = f"{command} shows which cutoff reaches it; the clips that were missed are listed"
        problems.append(Problem("quality", evaluation.missed, None, message, hint))
    limit = options.max_false_accepts_per_hour
    if limit is not None and (accepts.rate or 0.0) > limit:
        message = f"{accepts.rate:.2f} false accepts an hour ({accepts.count} in {accepts.hours:.2f} h), more than "
        message += f"{limit:g}"
        hint = f"{command} shows which cutoff has fewer; the clips that woke it are listed"
        problems.append(Problem("quality", evaluation.woken_by, None, message, hint))
    return tuple(problems)

"""How good a model was on the labelled clips of a run: what was seen of them, handed to `harness.run.evaluation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.clips.clip import Clip
from harness.run.evaluation.labels import Label, labels_from_names
from harness.run.evaluation.statistics import Evaluation, LabelledOutputs, Rule, evaluate
from harness.run.judging import Judge, Observed


def evaluate_clips(
    judge: Judge, clips: Sequence[Clip], seen: Sequence[Observed], labels: Mapping[str, Label] | None
) -> Evaluation | None:
    """Recall and false accepts over the labelled clips that were carried out."""
    model = judge.model
    if labels is None:
        labels = labels_from_names(clip.name for clip in clips)
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

"""The entry from Python to a run: streams clips through a target and judges outputs, detections and arena.

`harness.run.execution` carries it out, `harness.run.summary` sums it up, `harness.report` writes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import update_wrapper
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeAlias

from harness.clips.sources import ClipSource
from harness.engines.catalog import EXACT_ENGINE
from harness.run.execution import execute, open_inputs
from harness.run.options import RunOptions
from harness.run.results import RunResult
from harness.run.sharing import ShareClips, run_clips
from harness.run.summary import summarize
from harness.targets.registry import target_spec
from mww.core.errors import UsageError
from mww.esphome.model import Model, load_model

_P = ParamSpec("_P")
_Model: TypeAlias = Model | Path | str
_Plain: TypeAlias = Callable[[_Model, ClipSource, RunOptions], RunResult]


def _with_keywords_of(
    options: Callable[_P, RunOptions],
) -> Callable[[_Plain], Callable[Concatenate[_Model, ClipSource, _P], RunResult]]:
    """Give a function the fields of `RunOptions` as keyword arguments, so that each option is written once."""

    def decorate(function: _Plain) -> Callable[Concatenate[_Model, ClipSource, _P], RunResult]:
        def call(model: _Model, clips: ClipSource, *args: _P.args, **words: _P.kwargs) -> RunResult:
            return function(model, clips, options(*args, **words))

        model, clips, _ = inspect.signature(function).parameters.values()
        keywords = inspect.signature(options).parameters.values()
        signature = inspect.Signature([model, clips, *keywords], return_annotation=RunResult)
        call.__signature__ = signature  # type: ignore[attr-defined]
        update_wrapper(call, function)
        return call  # type: ignore[return-value]  # clips can be named, which Concatenate cannot say

    return decorate


@_with_keywords_of(RunOptions)
def check(model: Model | Path | str, clips: ClipSource, options: RunOptions) -> RunResult:
    """Stream clips through a model on a target and judge every output.

    Every field of `harness.run.options.RunOptions` is a keyword argument; docs/reference/run-options.md lists them.

    Args:
        model: A manifest or `.tflite`.
        clips: WAV files and folders; a feature file or golden (`.npz`); or arrays int8 or uint16 `[slices, 40]` by
            name. A golden's recorded outputs are what is compared with. Otherwise TFLM makes them on the spot, unless
            the target is the emulator's TFLM itself: then nothing is compared.
        options: From the keyword arguments.

    Returns:
        The result; its verdict is `error` where a clip ended in an error.

    Raises:
        MwwError: Nothing could be run: an option, file or package is wrong, the target cannot be opened, or it cannot
            load the model.
    """
    loaded = model if isinstance(model, Model) else load_model(model)
    return check_models([loaded], clips, options)[0]


def check_models(models: Sequence[Model], clips: ClipSource, options: RunOptions) -> tuple[RunResult, ...]:
    """Do what `check` does, for one model after the other.

    A model that cannot be loaded is an error of all its clips; the other models go on.

    Raises:
        MwwError: As for `check`.
    """
    results: list[RunResult] = []
    lost: dict[str, str] = {}
    with _sharing(options) as (share, here):
        for model in models:
            with ExitStack() as stack:
                inputs = open_inputs(model, clips, here, stack)
                known = results[-1].target if results else None
                execution = execute(inputs, here, share, lost, known, stack)
                if execution.refusal is not None and len(models) == 1:
                    raise execution.refusal
                results.append(summarize(execution, options))
    return tuple(results)


@contextmanager
def _sharing(options: RunOptions) -> Iterator[tuple[ShareClips, RunOptions]]:
    """How clips are distributed: over benches in this process, over processes, or over a cluster."""
    engine = options.chosen_engine
    if options.cluster is None and options.jobs > 1 and engine is not None and engine.name == EXACT_ENGINE:
        from harness.run.cluster.processes import Processes

        with Processes(options.jobs) as processes:
            yield processes.run_clips, replace(options, jobs=1)
        return
    if options.cluster is None:
        yield run_clips, options
        return
    if options.more_targets or not target_spec(options.target).several:
        hint = "leave --cluster out: a board is at one machine; a cluster runs emulators and virtual boards"
        raise UsageError(f"--cluster with the target {options.target}", hint=hint)
    if options.jobs != 1:
        raise UsageError("--jobs with --cluster", hint="each thread of the cluster's workers runs a clip at a time")
    from harness.run.cluster.connection import Cluster

    with Cluster(options.cluster) as cluster:
        yield cluster.run_clips, options

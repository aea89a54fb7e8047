"""The pytest plugin: wake words tested on whatever target the command line names, boards leased test by test.

It is loaded into every pytest run of an environment that has mww-harness, so it imports nothing heavy before a fixture
is used, and everything of it that others can see begins with `mww`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.targets.registry import DEFAULT_TARGET, TARGET_NAMES, target_spec
from mww.core.errors import MwwError
from mww.esphome.chips import CHIP_NAMES, DEFAULT_CHIP

if TYPE_CHECKING:
    from harness.boards.allocation import BoardSource
    from harness.boards.inventory import Board
    from harness.run.results import RunResult
    from harness.targets.base import Target, TargetInfo
    from harness.targets.registry import TargetOptions
    from mww.esphome.model import Model

_ALLOWANCE = "mww_allowance"
_WAIT_SECONDS = 600.0
_POOL: pytest.StashKey[BoardSource | None] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options, each named as its flag of `mww run`."""
    group = parser.getgroup("mww", "wake words (mww-harness)")
    group.addoption("--mww-target", metavar="TARGET", help=f"{TARGET_NAMES}, or a port; {DEFAULT_TARGET} by default")
    group.addoption("--mww-port", metavar="PORT", help="the port of one board, as pyserial opens it")
    group.addoption(
        "--mww-boards", metavar="FILE.yaml", type=Path, help="the inventory; each test leases a board of it"
    )
    group.addoption("--mww-baud", metavar="N", type=int, help="of the board's port")
    group.addoption(
        "--mww-chip", metavar="CHIP", choices=CHIP_NAMES, help="the chip; only boards with this chip are used"
    )
    group.addoption(
        "--mww-allowances",
        metavar="FILE.yaml",
        type=Path,
        help="accepted differences; by default mww-allowances.yaml in the root or current folder",
    )
    group.addoption(
        "--mww-model", metavar="FILE", type=Path, action="append", help="the model for mww_model; repeatable"
    )
    group.addoption(
        "--mww-wait", metavar="SECONDS", type=float, default=_WAIT_SECONDS, help="seconds to wait for a free board"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers of mww-harness; refuse options that contradict each other and an unreadable inventory."""
    config.addinivalue_line("markers", "mww_hardware: needs a board, virtual or real; skipped on the emulator")
    for chip in CHIP_NAMES:
        config.addinivalue_line("markers", f"mww_{chip}: only for this chip; several such markers mean any of them")
    given = [name for name in ("--mww-target", "--mww-port", "--mww-boards") if config.getoption(name)]
    if len(given) > 1:
        raise pytest.UsageError(f"{' and '.join(given)} cannot be used together: give one of them")
    try:
        config.stash[_POOL] = _make_pool(config)
    except MwwError as error:
        raise pytest.UsageError(_both_lines(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes `mww_model` once for each --mww-model, unless it is parametrised."""
    models = metafunc.config.getoption("--mww-model")
    own = any("mww_model" in str(mark.args[:1]) for mark in metafunc.definition.iter_markers("parametrize"))
    if models and "mww_model" in metafunc.fixturenames and not own:
        metafunc.parametrize("mww_model", models, ids=[model.stem for model in models], indirect=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose markers exclude this target."""
    if item.get_closest_marker("mww_hardware") and _without_firmware(item.config):
        pytest.skip("needs a board: --mww-boards FILE.yaml, --mww-port PORT or --mww-target virtual")
    wanted = _wanted_chips(item)
    _skip_without(wanted, _known_chips(item.config) if wanted else set())


@pytest.fixture
def mww_model(request: pytest.FixtureRequest) -> Model:
    """The model of --mww-model, or the path that the test is parametrised with (`indirect=True`)."""
    from mww.esphome.model import load_model

    path = getattr(request, "param", None)
    if path is None:
        pytest.skip("needs a model: --mww-model FILE, or parametrize mww_model with paths and indirect=True")
    with _failing_in_two_lines():
        return load_model(path)


@pytest.fixture
def mww_board(request: pytest.FixtureRequest) -> Iterator[Board]:
    """A board for this test alone, leased until it ends; its `port` is the current port."""
    pool = request.config.stash[_POOL]
    if pool is None:
        pytest.skip("needs a board: --mww-boards FILE.yaml or --mww-port PORT")
    with ExitStack() as stack:
        wanted = _wanted_chips(request.node)
        with _failing_in_two_lines():
            board = stack.enter_context(pool.lease(wanted))
            if wanted and not board.chip:
                board = replace(board, chip=_reported_chip(board))
        _skip_without(wanted, {board.chip})
        request.node.user_properties.append(("mww_board", board.id))
        yield board


@pytest.fixture(scope="session")
def mww_engines() -> Iterator[None]:
    """Keeps interpreter processes after a test, for the next test."""
    from harness.engines.catalog import DEFAULT_ENGINE
    from harness.engines.process import started_ahead

    with started_ahead(DEFAULT_ENGINE, 0):
        yield


@pytest.fixture
def mww_target(request: pytest.FixtureRequest, mww_engines: None) -> Iterator[Target]:
    """The opened target; on a board, the board of `mww_board`."""
    from harness.targets.registry import open_target

    name, options = _place(request)
    with _failing_in_two_lines(), _doing_without(request):
        target = open_target(name, options)
    with target:
        _record(request, target.info())
        yield target


@pytest.fixture
def mww_check(request: pytest.FixtureRequest, mww_engines: None) -> Callable[..., RunResult]:
    """`harness.check.check(model, clips, ...)` on this test's target; on a board, the board of `mww_board`."""
    from harness.check import check
    from harness.run.allowances import find_allowances
    from mww.core.errors import GONE_CODES

    name, options = _place(request)
    config = request.config
    accepted = find_allowances(config.getoption("--mww-allowances"), config.rootpath, config.invocation_params.dir)

    def run(model: Model | Path | str, clips: object, **more: object) -> RunResult:
        more.setdefault("allowances", accepted)
        with _failing_in_two_lines(), _doing_without(request):
            result = check(model, clips, target=name, chip=options.chip, baud=options.baud, **more)  # type: ignore[arg-type]
        if any(clip.error is not None and clip.error.code in GONE_CODES for clip in result.clips[-1:]):
            _discard(request)
        _record(request, result.target)
        counts = {"mww_model_sha256": result.model_sha256, "mww_verdict": result.verdict}
        if result.arena is not None:
            counts["mww_arena_used"] = str(result.arena.used)
        request.node.user_properties.extend(counts.items())
        request.node.user_properties.extend(_properties(result))
        return result

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show every allowance that tests used, once, from all workers."""
    reports = [report for entry in terminalreporter.stats.values() for report in entry]
    met = [
        (key, value)
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for key, value in report.user_properties
    ]
    lines = Counter(str(value) for key, value in met if key == _ALLOWANCE)
    if lines:
        terminalreporter.section("wake words: allowances")
    for line, tests in sorted(lines.items()):
        terminalreporter.line(f"{line}{f' [{tests} tests]' if tests > 1 else ''}")


def _properties(result: RunResult) -> Iterator[tuple[str, str]]:
    """The problems and allowances of a run, as properties."""
    from harness.report.wording import allowance_account, problem_account

    for problem in result.problems:
        yield f"mww_problem.{problem.code}", problem_account(problem)
    for use in result.allowances.entries if result.allowances else ():
        yield _ALLOWANCE, f"{use.allowance.model}: {allowance_account(use)}"


def _make_pool(config: pytest.Config) -> BoardSource | None:
    """The boards to lease; None where tests do not share boards."""
    inventory, target = config.getoption("--mww-boards"), _target(config)
    spec = target_spec(target)
    if inventory is None and spec.boards is None:
        return None
    from harness.boards.allocation import BoardPool, OwnVirtualBoard, worker_number

    if inventory is None and spec.boards == "own":
        own = OwnVirtualBoard(config.getoption("--mww-chip") or spec.default_chip or DEFAULT_CHIP)
        config.add_cleanup(own.close)
        return own
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    return BoardPool(
        _boards(config, inventory, target),
        worker=worker_number(worker),
        wait=config.getoption("--mww-wait"),
        purpose=f"pytest {worker}" if worker else "pytest",
    )


def _boards(config: pytest.Config, inventory: Path | None, port: str) -> list[Board]:
    """The inventory's boards, or the board at a port, limited by the options."""
    from harness.boards.inventory import InventoryError, load_inventory
    from harness.boards.leases import board_at
    from harness.serial.ports import scan

    chip, baud = config.getoption("--mww-chip"), config.getoption("--mww-baud")
    if inventory is None:
        boards = [replace(board_at(port, scan()), chip=chip or "")]
    else:
        boards = [board for board in load_inventory(inventory) if chip in (None, board.chip)]
        if not boards:
            raise InventoryError(f"{inventory} does not have {chip}", hint="leave --mww-chip out for any board")
    return [replace(board, baud=baud) for board in boards] if baud else boards


def _target(config: pytest.Config) -> str:
    """Where tests run: a named target, or else a port; not used with an inventory."""
    return str(config.getoption("--mww-port") or config.getoption("--mww-target") or DEFAULT_TARGET)


def _without_firmware(config: pytest.Config) -> bool:
    return config.stash[_POOL] is None and not target_spec(_target(config)).has_link


def _wanted_chips(item: pytest.Item) -> set[str]:
    return {chip for chip in CHIP_NAMES if item.get_closest_marker(f"mww_{chip}")}


def _skip_without(wanted: set[str], there: set[str]) -> None:
    if wanted and there and not wanted & there:
        pytest.skip(f"needs {' or '.join(sorted(wanted))}, but the target has {', '.join(sorted(there))}")


def _reported_chip(board: Board) -> str:
    """The chip that a board at a port reports."""
    from harness.link.client import LinkClient

    with LinkClient.connect(board.port, baud=board.baud) as client:
        return client.board.chip


def _known_chips(config: pytest.Config) -> set[str]:
    """The chips that tests may run on; empty where only the board itself knows its chip."""
    pool = config.stash[_POOL]
    if pool is not None:
        return {chip for chip in pool.chips() if chip}
    chip = config.getoption("--mww-chip") or target_spec(_target(config)).default_chip
    return {str(chip)} if chip else set()


def _place(request: pytest.FixtureRequest) -> tuple[str, TargetOptions]:
    """The name and options of this test's target; a board is leased from here on."""
    from harness.targets.registry import TargetOptions

    config = request.config
    chip = config.getoption("--mww-chip")
    if config.stash[_POOL] is None:
        return _target(config), TargetOptions(chip=chip)
    board: Board = request.getfixturevalue("mww_board")
    return board.port, TargetOptions(chip=board.chip or None, baud=board.baud)


def _record(request: pytest.FixtureRequest, info: TargetInfo) -> None:
    """Record the target in the test's properties, which JUnit contains."""
    reported = {"mww_target": info.kind, "mww_chip": info.chip, "mww_engine": info.engine}
    reported |= {f"mww_version.{name}": version for name, version in info.versions}
    known = dict(request.node.user_properties)
    request.node.user_properties.extend((key, value) for key, value in reported.items() if known.get(key) != value)


@contextmanager
def _doing_without(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a board that cannot be reached fail this test only."""
    from mww.core.errors import LinkError

    try:
        yield
    except LinkError:
        _discard(request)
        raise


def _discard(request: pytest.FixtureRequest) -> None:
    pool = request.config.stash[_POOL]
    if pool is not None:
        pool.discard(request.getfixturevalue("mww_board"))


@contextmanager
def _failing_in_two_lines() -> Iterator[None]:
    """Let an MwwError fail the test with its two lines, and no traceback."""
    try:
        yield
    except MwwError as error:
        pytest.fail(_both_lines(error), pytrace=False)


def _both_lines(error: MwwError) -> str:
    return f"{error.message}\nhint: {error.hint}" if error.hint else error.message

"""The edge of the process: exit codes, `--json` errors, no heavy import for help."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from harness.cli import execute
from mww.core.errors import InputError, UnsupportedModelError
from mww.core.readable import printable


def _command(error: BaseException) -> click.Command:
    def fail() -> None:
        raise error

    return click.Command(
        "fail", callback=fail, params=[click.Option(["--json", "as_json"], is_flag=True, expose_value=False)]
    )


def test_an_error_is_one_line_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(_command(InputError("no such clip", hint="give a WAV")), []) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: no such clip\n hint: give a WAV\n"


def test_a_verdict_is_exit_1_and_an_interrupt_130() -> None:
    assert execute(_command(UnsupportedModelError("breaks a rule", hint="export it again")), []) == 1
    assert execute(_command(KeyboardInterrupt()), []) == 130


def test_with_json_an_error_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(_command(InputError("no such clip", hint="check the path")), ["--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    error = {"code": "input", "message": "no such clip", "hint": "check the path", "inference": None}
    assert document == {"schema": "mww.error/1", "error": error}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(36, "File name too long", "x" * 9000), "cannot use x"),
        (OSError(28, "No space left on device"), "the system refuses: No space left on device"),
        (PermissionError(13, "Permission denied", b"/proc/1/root"), "Permission denied"),
        (MemoryError(), "memory"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), "not Unicode"),
    ],
)
def test_what_the_system_refuses_is_one_line_and_a_hint(
    error: Exception, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(_command(error), []) == 2
    lines = capsys.readouterr().err.splitlines()
    assert message in lines[0]
    assert len(lines[0]) < 520
    assert lines[1].startswith(" hint: ")
    with pytest.raises(type(error)):
        execute(_command(error), ["--debug"])


@pytest.mark.parametrize(
    "place",
    [
        ">&-",
        "2>&-",
        pytest.param("> /dev/full", marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")),
    ],
)
def test_output_that_is_closed_or_full_is_no_traceback(place: str) -> None:
    command = f"exec {sys.executable} -m harness.cli verify absent.tflite --json {place}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert ("error: " in done.stderr) == ("full" in place)


def test_output_that_nobody_reads_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in ("stdout", "stderr"):  # click replaces them
        monkeypatch.setattr(sys, stream, getattr(sys, stream))
    assert execute(_command(BrokenPipeError(errno.EPIPE, "Broken pipe")), []) == 141


def test_a_traceback_only_with_debug() -> None:
    with pytest.raises(InputError):
        execute(_command(InputError("no such clip", hint="check the path")), ["--debug"])


def test_usage_errors_are_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(_command(InputError("unused", hint="check the path")), ["--frobnicate", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_names_from_files_cannot_write_escape_sequences() -> None:
    assert "\x1b" not in printable("clip\x1b[31m.wav\n")


@pytest.mark.parametrize("module", ["exporter", "harness", "mww.tflite.model_file"])
def test_imports_stay_light(module: str) -> None:
    heavy = "{'tensorflow', 'keras', 'h5py', 'rich', 'esptool', 'serial', 'jinja2'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        f"import sys\nfrom harness.cli import execute, mww\nexecute(mww, {words})\n"
        "print(sorted({'tensorflow', 'numpy', 'rich', 'esptool', 'serial'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_verbs_can_be_called_one_after_the_other_in_one_process() -> None:
    code = (
        "from harness.cli import main\n"
        "for _ in range(2):\n"
        "    try:\n        main(['run', '--help'])\n"
        "    except SystemExit as stop:\n        print(stop.code)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "0"

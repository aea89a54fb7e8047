"""Manifests: what ESPHome takes is read, what nobody should take is refused, and what is generated ESPHome takes."""

from __future__ import annotations

import json
import os
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import pymicro_wakeword
import pytest

from exporter.manifest import ManifestOptions, calculate_tensor_arena_size, generate_manifest, with_margin
from mww.core.errors import ConfigurationError, ManifestError, OutputError, UnknownRuntimeError
from mww.esphome.manifest import is_manifest, load_manifest, save_manifest, write_micro
from mww.esphome.manifest_schema import schema_problems
from tests.support.esphome_env import esphome_python
from tests.support.waiting import PATIENCE

MODELS = Path(pymicro_wakeword.__file__).parent / "models"

V2: dict[str, Any] = {
    "type": "micro",
    "wake_word": "Alexa",
    "author": "",
    "model": "alexa.tflite",
    "trained_languages": ["en"],
    "version": 2,
    "micro": {
        "probability_cutoff": 0.9,
        "feature_step_size": 10,
        "sliding_window_size": 5,
        "tensor_arena_size": 22348,
        "minimum_esphome_version": "2024.7.0",
    },
}
V1: dict[str, Any] = {
    "type": "micro",
    "wake_word": "Alexa",
    "author": "Someone",
    "website": "https://example.org/",
    "model": "./alexa.tflite",
    "version": 1,
    "micro": {"probability_cutoff": 0.66, "sliding_window_average_size": 10},
}

VALIDATE = """
import json, sys
from esphome.components.micro_wake_word import _validate_manifest_version
for manifest in json.load(sys.stdin):
    try:
        _validate_manifest_version(manifest)
        print("taken")
    except Exception as error:
        print("refused", " ".join(str(error).split()))
"""


def changed(base: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """A manifest with another value under `key`, or `micro.key`; `...` removes it."""
    manifest = deepcopy(base)
    place = manifest["micro"] if key.startswith("micro.") else manifest
    key = key.removeprefix("micro.")
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return manifest


def esphome_verdicts(manifests: list[dict[str, Any]]) -> list[str]:
    """What ESPHome's own schema says of each manifest."""
    done = subprocess.run(
        [str(esphome_python()), "-c", VALIDATE],
        input=json.dumps(manifests),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    return done.stdout.splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model in it."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "alexa.tflite").write_bytes((MODELS / "alexa.tflite").read_bytes())
    return folder


def write(folder: Path, content: object) -> Path:
    path = folder / "alexa.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


# --- Reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alexa", "hey_jarvis", "hey_mycroft", "okay_nabu"])
def test_a_published_manifest_is_read(name: str) -> None:
    manifest = load_manifest(MODELS / f"{name}.json")
    written = json.loads((MODELS / f"{name}.json").read_text())
    assert manifest.model == MODELS / f"{name}.tflite"
    assert manifest.tensor_arena_size == written["micro"]["tensor_arena_size"]
    assert manifest.probability_cutoff == written["micro"]["probability_cutoff"]
    assert (manifest.version, manifest.feature_step_size, manifest.sliding_window_size) == (2, 10, 5)
    assert manifest.trained_languages == tuple(written["trained_languages"])


def test_a_version_1_gets_the_figures_that_esphome_gives_it(folder: Path) -> None:
    manifest = load_manifest(write(folder, V1))
    assert (manifest.version, manifest.tensor_arena_size, manifest.feature_step_size) == (1, 45672, 20)
    assert (manifest.sliding_window_size, manifest.trained_languages) == (10, ("en",))
    assert manifest.minimum_esphome_version is None
    assert manifest.model.read_bytes() == (folder / "alexa.tflite").read_bytes()


BREAKS_THE_SCHEMA: list[tuple[dict[str, Any], str, object, str]] = [
    (V2, "type", "macro", "type must be"),
    (V2, "wake_word", ..., "wake_word is missing"),
    (V2, "wake_word", ["a"], "wake_word must be a string"),
    (V2, "author", None, "author must be a string"),
    (V2, "website", "example.org", "website must be a URL"),
    (V1, "website", ..., "website is missing"),
    (V2, "version", 3, "version must be 1 or 2"),
    (V2, "version", True, "version must be 1 or 2"),
    (V2, "version", ..., "version is missing"),
    (V2, "model", 7, "model must be a file name"),
    (V2, "trained_languages", [1], "trained_languages must be"),
    (V2, "micro", [], "micro must be an object"),
    (V2, "surprise", 1, "surprise is not a key"),
    (V2, "micro.surprise", 1, "micro.surprise is not a key"),
    (V2, "micro.feature_step_size", 31, "from 0 to 30"),
    (V2, "micro.feature_step_size", -1, "from 0 to 30"),
    (V2, "micro.tensor_arena_size", "many", "tensor_arena_size must be an integer"),
    (V2, "micro.tensor_arena_size", True, "tensor_arena_size must be an integer"),
    (V2, "micro.tensor_arena_size", 22348.0, "tensor_arena_size must be an integer"),
    (V2, "micro.tensor_arena_size", 10**30, "tensor_arena_size must be an integer"),
    (V2, "micro.sliding_window_size", 0, "sliding_window_size must be"),
    (V2, "micro.sliding_window_size", 10**9, "sliding_window_size must be"),
    (V2, "micro.probability_cutoff", "high", "probability_cutoff must be"),
    (V2, "micro.probability_cutoff", 1.5, "probability_cutoff must be"),
    (V2, "micro.probability_cutoff", False, "probability_cutoff must be"),
    (V2, "micro.minimum_esphome_version", "soon", "minimum_esphome_version must be"),
    (V2, "micro.minimum_esphome_version", ..., "minimum_esphome_version is missing"),
    (V1, "micro.sliding_window_average_size", ..., "sliding_window_average_size is missing"),
]


@pytest.mark.parametrize("base, key, value, reason", BREAKS_THE_SCHEMA)
def test_what_breaks_the_schema_is_named(
    base: dict[str, Any], key: str, value: object, reason: str, folder: Path
) -> None:
    content = changed(base, key, value)
    assert any(reason in problem.message for problem in schema_problems(content))
    path = write(folder, content)
    if key in FIGURES:
        with pytest.raises(ManifestError, match=reason):
            load_manifest(path)
    else:
        assert any(reason in problem for problem in load_manifest(path).problems)


FIGURES = {
    "model",
    "micro",
    "micro.feature_step_size",
    "micro.tensor_arena_size",
    "micro.sliding_window_size",
    "micro.sliding_window_average_size",
    "micro.probability_cutoff",
}


def test_keys_of_another_version_have_one_cure(folder: Path) -> None:
    (problem,) = schema_problems(changed(V2, "version", 1))
    assert 'write "version": 2' in problem.message
    (problem,) = schema_problems(changed(V1, "version", 2))
    assert 'write "version": 1' in problem.message
    assert load_manifest(write(folder, changed(V2, "version", 1))).sliding_window_size == 5


def test_an_old_name_is_tied_to_the_new_one() -> None:
    content = changed(changed(V2, "micro.sliding_window_size", ...), "micro.sliding_window_average_size", 10)
    (problem,) = schema_problems(content)
    assert problem.message.endswith("rename it sliding_window_size")


def test_a_text_that_is_not_unicode_is_not_written(tmp_path: Path) -> None:
    manifest = {**json.loads((MODELS / "okay_nabu.json").read_text()), "wake_word": "\udcff"}
    with pytest.raises(ManifestError, match="surrogates"):
        save_manifest(manifest, tmp_path / "new.json")
    assert list(tmp_path.iterdir()) == []


def test_every_problem_is_listed() -> None:
    content = {**V2, **{f"surplus_{number}": number for number in range(9)}}
    assert len(schema_problems(content)) == 9


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(value: str, folder: Path) -> None:
    text = json.dumps(V2).replace("0.9", value)
    with pytest.raises(ManifestError):
        load_manifest(write(folder, text))


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "not a manifest but empty file"),
        ("[]", "not hold a JSON object"),
        ("[" * 60_000, "nested too deeply"),
        ('{"version": ' + "9" * 50_000 + "}", "not JSON"),
        (" " * 70_000, "larger than"),
        ("{\ud800}", "not JSON"),
    ],
)
def test_what_is_no_json_object_is_refused(text: str, reason: str, folder: Path) -> None:
    path = folder / "alexa.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ManifestError, match=reason):
        load_manifest(path)


def test_a_missing_manifest_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("absent.json", ".", "pipe.json", "nu\0ll.json"):
        with pytest.raises(ManifestError):
            load_manifest(tmp_path / name)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/hostname",
        "../secret.tflite",
        "sub/../../secret.tflite",
        "..\\secret.tflite",
        "C:\\secret.tflite",
        "file:///etc/hostname",
        "https://example.org/model.tflite",
        "link.tflite",
        "linked/secret.tflite",
        "loop.tflite",
        "absent.tflite",
        ".",
        "alexa.tflite/x",
        "a\0b.tflite",
        "\x1b[2Jalexa.tflite",
        "x" * 5000,
    ],
)
def test_no_path_out_of_the_folder_is_followed(name: str, folder: Path) -> None:
    (folder.parent / "secret.tflite").write_bytes(b"secret")
    (folder / "link.tflite").symlink_to(folder.parent / "secret.tflite")
    (folder / "linked").symlink_to(folder.parent)
    (folder / "loop.tflite").symlink_to(folder / "loop.tflite")
    with pytest.raises(ManifestError, match="names the model"):
        load_manifest(write(folder, changed(V2, "model", name)))


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "newest.tflite").symlink_to("alexa.tflite")
    manifest = load_manifest(write(folder, changed(V2, "model", "newest.tflite")))
    assert manifest.model.read_bytes() == (MODELS / "alexa.tflite").read_bytes()


def test_esphome_takes_whatever_this_takes() -> None:
    """The schema here may be stricter than ESPHome's, never looser."""
    manifests = [changed(base, key, value) for base, key, value, _ in BREAKS_THE_SCHEMA]
    manifests += [
        V1,
        V2,
        changed(V2, "trained_languages", "en"),
        changed(V2, "website", "https://example.org"),
        changed(V2, "website", "file:///x"),
        changed(V2, "website", "https://"),
        changed(V2, "website", "http:// space"),
        changed(V2, "micro.probability_cutoff", 1),
        changed(V2, "micro.feature_step_size", 0),
        changed(V2, "micro.minimum_esphome_version", "2024.7.0-dev"),
        changed(V2, "micro.minimum_esphome_version", "2024.7"),
        changed(V1, "micro.minimum_esphome_version", "2024.7.0"),
    ]
    manifests += [json.loads(path.read_text()) for path in MODELS.glob("*.json")]
    verdicts = esphome_verdicts(manifests)
    for manifest, verdict in zip(manifests, verdicts, strict=True):
        if not schema_problems(manifest):
            assert verdict == "taken", manifest


# --- Generating ------------------------------------------------------------------------------------------------------


def test_a_generated_manifest_is_one_that_esphome_takes_and_this_reads(tmp_path: Path) -> None:
    model = tmp_path / "hey_jarvis.tflite"
    model.write_bytes((MODELS / "hey_jarvis.tflite").read_bytes())
    options = ManifestOptions(author="Zoë", website="https://example.org/", trained_languages=("en", "nl"))
    manifests = [generate_manifest(model, options), generate_manifest(model, {}), generate_manifest(str(model), {})]
    assert esphome_verdicts(manifests) == ["taken"] * 3
    path = save_manifest(manifests[0], tmp_path / "hey_jarvis.json")
    manifest = load_manifest(path)
    assert (manifest.wake_word, manifest.author, manifest.website) == ("Hey Jarvis", "Zoë", "https://example.org/")
    assert (manifest.probability_cutoff, manifest.model) == (0.97, model)
    assert manifest.tensor_arena_size == calculate_tensor_arena_size(model)


def test_keys_stand_in_the_order_of_the_published_manifests() -> None:
    published = json.loads((MODELS / "hey_jarvis.json").read_text())
    options = ManifestOptions(website="https://example.org/")
    manifest = generate_manifest(MODELS / "hey_jarvis.tflite", options)
    assert list(manifest) == list(published)
    assert list(manifest["micro"]) == list(published["micro"])


def test_nobody_is_named_unless_asked() -> None:
    manifest = generate_manifest(MODELS / "alexa.tflite", {"wake_word": "Alexa"})
    assert manifest["author"] == ""
    assert "website" not in manifest


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"probability_cutof": 0.9}, "unknown manifest option 'probability_cutof'"),
        ({"probability_cutoff": float("nan")}, "probability_cutoff must be"),
        ({"probability_cutoff": 2}, "probability_cutoff must be"),
        ({"website": "nowhere"}, "website must be a URL"),
        ({"wake_word": 5}, "wake_word must be a string"),
        ({"arena_margin": -0.5}, "the arena margin is -0.5"),
    ],
)
def test_options_that_esphome_would_refuse_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        generate_manifest(MODELS / "alexa.tflite", options)


def test_the_arena_is_the_largest_minimum_and_a_margin() -> None:
    model = MODELS / "okay_nabu.tflite"  # minimum 34512 on the esp32s3, 21520 on the esp32
    assert calculate_tensor_arena_size(model, margin=0) == 34512
    assert calculate_tensor_arena_size(model) == 37968  # 37963.2, up to 16
    assert calculate_tensor_arena_size(model.read_bytes(), chips=("esp32",)) == 23680  # 23672
    assert generate_manifest(model, {"chips": "esp32", "arena_margin": 0})["micro"]["tensor_arena_size"] == 21520
    for_all = {"runtimes": "all", "arena_margin": 0}  # esp-nn 1.2.3 asks for most
    assert generate_manifest(model, for_all)["micro"]["tensor_arena_size"] == 50192
    assert generate_manifest(model, {"tensor_arena_size": 40000})["micro"]["tensor_arena_size"] == 40000
    with pytest.raises(UnknownRuntimeError):
        calculate_tensor_arena_size(model, chips=("esp8266",))


def test_a_margin_is_added_exactly() -> None:
    assert with_margin(1600, 0.1) == 1760  # in binary floating point, 1760.0000000000002
    assert with_margin(1601, 0.1) == 1776
    assert with_margin(0) == 0


# --- Writing ---------------------------------------------------------------------------------------------------------


def test_a_manifest_is_written_whole_or_not_at_all(folder: Path) -> None:
    path = write(folder, V2)
    with pytest.raises(ManifestError, match="not JSON compliant"):
        save_manifest(changed(V2, "micro.probability_cutoff", float("nan")), path)
    assert json.loads(path.read_text()) == V2
    assert sorted(entry.name for entry in folder.iterdir()) == ["alexa.json", "alexa.tflite"]
    with pytest.raises(OutputError):
        save_manifest(V2, folder / "alexa.tflite" / "below.json")


def test_only_the_arena_changes_when_it_is_written(folder: Path) -> None:
    path = write(folder, V2)
    write_micro(load_manifest(path), "tensor_arena_size", 24000)
    assert json.loads(path.read_text()) == changed(V2, "micro.tensor_arena_size", 24000)
    with pytest.raises(ManifestError, match="version 2"):
        write_micro(load_manifest(write(folder, V1)), "tensor_arena_size", 24000)


def test_a_manifest_is_known_by_its_name() -> None:
    assert is_manifest("models/alexa.json")
    assert is_manifest(Path("ALEXA.JSON"))
    assert not is_manifest("alexa.tflite")

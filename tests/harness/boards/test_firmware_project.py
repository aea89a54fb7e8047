"""Projects as they are written: complete, ours brought up to date, the user's own left alone."""

import json
import os
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from harness.boards.firmware_project import SOURCES, board_names, find_image, wake_word_config, write_project
from harness.cli.firmware import command
from mww import __version__
from mww.core.errors import InputError, UnsupportedModelError, UsageError
from mww.core.resources import firmware_dir
from mww.esphome import contract
from mww.esphome.manifest import load_manifest
from mww.images.partition_table import DATA_MODEL, MODEL_PARTITION_NAME
from tests.firmware.conftest import published


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_project_stands_on_its_own(tmp_path: Path) -> None:
    project = write_project("voice-pe", tmp_path)
    assert project.config == tmp_path / "voice-pe.yaml"
    written = files(tmp_path)
    component = files(firmware_dir() / "components/mww_harness")
    sources = {name: content for name, content in component.items() if name.endswith((".py", ".h", ".cpp"))}
    assert (
        sources.items()
        <= {
            name.removeprefix(f"{SOURCES}/components/mww_harness/"): content for name, content in written.items()
        }.items()
    )
    assert f"components: {SOURCES}/components" in project.config.read_text()
    assert str(firmware_dir()) not in project.config.read_text()


def test_writing_again_updates_ours_and_keeps_the_users(tmp_path: Path) -> None:
    project = write_project("voice-pe", tmp_path)
    project.config.write_text("# mine\n")
    stale = tmp_path / SOURCES / "components/mww_harness/removed.cpp"
    stale.write_text("int removed;")
    changed = tmp_path / SOURCES / "components/mww_harness/link.h"
    changed.write_text("old")
    neighbour = tmp_path / "components/theirs.cpp"
    neighbour.parent.mkdir()
    neighbour.write_text("int theirs;")
    write_project("voice-pe", tmp_path)
    assert project.config.read_text() == "# mine\n"
    assert not stale.exists()
    assert changed.read_text() != "old"
    assert neighbour.exists()


def test_two_boards_share_a_folder(tmp_path: Path) -> None:
    write_project("voice-pe", tmp_path)
    write_project("esp32-devkit", tmp_path)
    assert {"voice-pe.yaml", "esp32-devkit.yaml"} <= set(files(tmp_path))


def test_an_unknown_board_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        write_project("esp8266", tmp_path)
    assert caught.value.hint is not None
    assert all(board in caught.value.hint for board in board_names())


def test_a_manifest_brings_its_model(tmp_path: Path) -> None:
    manifest = published("hey_jarvis")
    project = write_project("esp32-devkit", tmp_path, manifests=[manifest])
    assert project.wake_word == tmp_path / "wake-word.yaml"
    assert (tmp_path / "models/hey_jarvis.tflite").read_bytes() == manifest.with_suffix(".tflite").read_bytes()


def test_a_manifest_without_its_model_writes_nothing(tmp_path: Path) -> None:
    manifest = tmp_path / "hey_jarvis.json"
    manifest.write_bytes(published("hey_jarvis").read_bytes())
    with pytest.raises(InputError):
        write_project("esp32-devkit", tmp_path / "project", manifests=[manifest])
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize("wake_word", ['Hey: "you" {{ 7 * 7 }}', "two\nlines\n: of it", "# comment", "\u2028\x00"])
def test_what_a_manifest_says_cannot_change_the_yaml(tmp_path: Path, wake_word: str) -> None:
    from dataclasses import replace

    odd = Path('folder/"odd": name.json')
    manifest = replace(load_manifest(published("hey_jarvis")), wake_word=wake_word, path=odd)
    content = yaml.safe_load(wake_word_config("voice-pe", "wake-word.yaml", [manifest], manifest))
    assert content["micro_wake_word"]["models"] == [{"model": 'models/"odd": name.json'}]
    assert content["micro_wake_word"]["vad"] == {"model": 'models/"odd": name.json'}
    plain = yaml.safe_load(wake_word_config("voice-pe", "wake-word.yaml", [load_manifest(published("alexa"))]))
    assert set(content) == set(plain)
    assert "vad" not in plain["micro_wake_word"]


def test_several_wake_words_stand_in_their_order_and_each_runs(tmp_path: Path) -> None:
    names = ("okay_nabu", "alexa", "hey_jarvis")
    project = write_project("voice-pe", tmp_path, manifests=[published(name) for name in names])
    assert project.wake_word is not None
    content = yaml.safe_load(project.wake_word.read_text())
    assert content["micro_wake_word"]["models"] == [{"model": f"models/{name}.json"} for name in names]
    assert content["esphome"]["min_version"] == "2024.7.0"
    with pytest.raises(UsageError, match="same file name"):
        write_project("voice-pe", tmp_path, manifests=[published("alexa")] * 2)
    with pytest.raises(UsageError, match="a VAD without a wake word"):
        write_project("voice-pe", tmp_path, vad=published("alexa"))


def test_a_model_that_does_not_run_on_esphome_is_refused(tmp_path: Path) -> None:
    manifest = json.loads(published("alexa").read_text())
    manifest["micro"]["tensor_arena_size"] = 10_000
    (path := tmp_path / "alexa.json").write_text(json.dumps(manifest))
    (tmp_path / "alexa.tflite").write_bytes(published("alexa").with_suffix(".tflite").read_bytes())
    with pytest.raises(UnsupportedModelError, match="does not run on ESPHome") as caught:
        write_project("voice-pe", tmp_path / "project", manifests=[path])
    assert "mww verify" in str(caught.value.hint)
    assert not (tmp_path / "project").exists()


def test_models_of_different_steps_are_refused(tmp_path: Path) -> None:
    manifest = json.loads(published("alexa").read_text())
    manifest["micro"]["feature_step_size"] = 20
    (path := tmp_path / "slow.json").write_text(json.dumps({**manifest, "model": "slow.tflite"}))
    (tmp_path / "slow.tflite").write_bytes(published("alexa").with_suffix(".tflite").read_bytes())
    for options in ({"manifests": [published("alexa"), path]}, {"manifests": [path], "vad": published("alexa")}):
        with pytest.raises(UnsupportedModelError, match=r"slow.json 20 ms"):
            write_project("voice-pe", tmp_path / "project", **options)  # type: ignore[arg-type]


def test_the_component_has_the_numbers_of_this_release() -> None:
    source = (firmware_dir() / "components/mww_harness/__init__.py").read_text()
    assert f'VERSION = "{__version__}"\n' in source
    assert f'ESP_TFLITE_MICRO_VERSION = "{contract.DEFAULT_RUNTIME.esp_tflite_micro}"\n' in source
    assert f'ESP_NN_VERSION = "{contract.DEFAULT_RUNTIME.esp_nn}"\n' in source
    assert f'CONF_NAME, default="{MODEL_PARTITION_NAME}"' in source
    assert f"PARTITION_SUBTYPE = {DATA_MODEL:#x}\n" in source


def test_the_command_tells_what_is_next(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["voice-pe", "--output", str(tmp_path)])
    assert result.exit_code == 0
    assert f"esphome compile {tmp_path}/voice-pe.yaml" in result.output
    assert f"mww flash --port PORT --firmware {tmp_path}\n" in result.output


def test_the_command_has_one_document(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["voice-pe", "--output", str(tmp_path), "--json"])
    document = yaml.safe_load(result.stdout)
    assert document["schema"] == "mww.firmware/1"
    assert Path(document["config"]).exists()
    assert document["wake_word"] is None


def test_the_image_is_found_where_each_release_of_esphome_leaves_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no built firmware"):
        find_image(tmp_path)
    older = tmp_path / ".esphome/build/mww-voice-pe/.pioenvs/mww-voice-pe/firmware.factory.bin"
    newer = write_project("voice-pe", tmp_path).image
    for image in (older, newer):
        image.parent.mkdir(parents=True)
        image.write_bytes(b"image")
        os.utime(image, (1, 1) if image == older else None)
        assert find_image(tmp_path) == image
    assert find_image(older) == older
    other = tmp_path / ".esphome/build/mww-esp32-c3/build/firmware.factory.bin"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"image")
    with pytest.raises(InputError, match="several boards: mww-esp32-c3, mww-voice-pe"):
        find_image(tmp_path)

"""Configurations of the trainers and of our own, parsed once; what is not known is refused, and nothing is run."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.checkpoint.resolution import Evidence, resolve
from exporter.network.configuration import Configuration, find_configuration, load_configuration, parse_configuration
from exporter.network.settings import OURS, architecture_settings, trainer_configuration
from mww.core.errors import ConfigurationError, MwwError
from tests.support.examples import examples
from tests.support.networks import ARCHITECTURES

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"

SARPEL = """
hardware: {window_step_ms: 10, mel_bins: 40}
training: {batch_size: 64}
model:
  architecture: "mixednet"
  stride: 3
  pointwise_filters: "64,64,64,64"
  mixconv_kernel_sizes: "[5],[7,11],[9,15],[23]"
  residual_connection: "0,1,1,1"
  dropout_rate: 0.08
export: {author: someone, wake_word: Hey Katya}
"""

OURS_YAML = """
model:
  stride: 3
  pooled: true
  max_pool: no
  pointwise_filters: [64, 64]
  mixconv_kernel_sizes: [[5], [7, 11]]
manifest:
  wake_word: Hey You
  trained_languages: [en, de]
"""


def _load(tmp_path: Path, text: str) -> Configuration:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load_configuration(path)


def test_the_official_trainers_file_is_read_with_its_tuple() -> None:
    path = CHECKPOINTS / "residual" / "training_config.yaml"
    assert "!!python/tuple" in path.read_text()
    configuration = load_configuration(path)
    assert configuration.settings["stride"] == 3
    assert configuration.settings["architecture"] == "mixednet"
    assert configuration.settings["mixconv_kernel_sizes"] == [[3], [3, 5, 9], [5]]
    assert configuration.settings["spectrogram_length"] == 95
    assert configuration.feature_step_size == 10


def test_sarpels_file_is_read_and_its_authors_name_is_not_taken_over(tmp_path: Path) -> None:
    configuration = _load(tmp_path, SARPEL)
    assert configuration.settings["residual_connection"] == [0, 1, 1, 1]
    assert configuration.settings["mixconv_kernel_sizes"] == [[5], [7, 11], [9, 15], [23]]
    assert configuration.manifest == {}


def test_our_own_file_says_what_the_manifest_says_too(tmp_path: Path) -> None:
    configuration = _load(tmp_path, OURS_YAML)
    assert configuration.settings["pooled"] is True
    assert configuration.settings["max_pool"] is False
    assert configuration.manifest == {"wake_word": "Hey You", "trained_languages": ["en", "de"]}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("model: {strid: 3}", "stride"),
        ("model: {pointwise_filter: [64]}", "pointwise_filters"),
        ("manifest: {wakeword: x}", "wake_word"),
        ("modle: {stride: 3}", "model"),
        ("flags: {mixconv_kernel_size: '[5]'}", "mixconv_kernel_sizes"),
        ("flags: {residual_connections: '0,1'}", "residual_connection"),
        (SARPEL.replace("residual_connection", "residual_conection"), "residual_connection"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(text: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unknown key") as error:
        _load(tmp_path, text)
    assert f"did you mean {hint}?" in (error.value.hint or "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: {stride: three}", "stride is 'three'"),
        ("model: {stride: -1}", "stride is -1"),
        ("model: {stride: 2.5}", "stride is 2.5"),
        ("model: {pooled: 2}", "pooled is 2"),
        ("model: {pointwise_filters: '64,__import__(1)'}", "pointwise_filters"),
        ("model: {mixconv_kernel_sizes: [5, 7]}", "mixconv_kernel_sizes"),
        ("model: {architecture: resnet}", "resnet"),
        ("model: 3", "config.yaml: model must be an object"),
        ("model: {stride: 1}\nmodel", "line 2"),
        ("- 1", "must be an object"),
        ("", "must be an object"),
        ("model: !!python/object/apply:os.system ['true']", "readable YAML"),
        ("flags: !!python/name:os.system {}", "readable YAML"),
        ("stride: 1\nflags: {stride: 3}", "stride is 1, and 3"),
        ("[" * 5000, "readable YAML"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        _load(tmp_path, text)
    assert words in error.value.message
    assert "\n" not in error.value.message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_configuration(tmp_path / "no.yaml")


def test_the_trainers_file_is_found_beside_a_checkpoint_and_above_its_restore_folder(tmp_path: Path) -> None:
    assert find_configuration(tmp_path / "best.weights.h5") is None
    (tmp_path / "training_config.yaml").touch()
    (tmp_path / "restore").mkdir()
    assert find_configuration(tmp_path / "best.weights.h5") == tmp_path / "training_config.yaml"
    assert find_configuration(tmp_path / "restore" / "ckpt-3") == tmp_path / "training_config.yaml"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_settings_say_all_of_an_architecture(name: str) -> None:
    architecture = ARCHITECTURES[name]
    reported = architecture_settings(architecture)
    assert resolve(reported, Evidence({}, architecture.dense_inputs)) == architecture
    from_yaml = parse_configuration(yaml.safe_load(trainer_configuration(architecture)))
    assert {**OURS, **from_yaml.settings} == {**OURS, **reported}


@settings(max_examples=examples(50), deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_one_error_or_a_configuration(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray((CHECKPOINTS / "residual" / "training_config.yaml").read_bytes())
    for _ in range(data.draw(st.integers(1, 12))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "config.yaml"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        load_configuration(path)
    except MwwError as error:
        assert "\n" not in error.message

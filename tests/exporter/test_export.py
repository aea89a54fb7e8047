"""From a checkpoint to a model with its manifest: what comes out, and what never does."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pymicro_wakeword
import pytest

from exporter.calibration.sets import create_default_representative_dataset
from exporter.checkpoint import weights_file
from exporter.conversion.recovered_ranges import ranges_document
from exporter.network.settings import trainer_configuration
from exporter.network.streaming_graph import read_streaming_graph
from exporter.recover import recover
from exporter.tflite import ExportResult, RefusedExportError, convert_to_tflite, export_to_tflite
from mww.core.errors import CalibrationError, CheckpointError, ConfigurationError, MwwError, OutputError, UsageError
from mww.core.files import write_files
from mww.core.resources import fixtures_dir
from mww.esphome.detection import detect
from mww.esphome.frontend import quantize_features, wav_to_features
from mww.esphome.manifest import load_manifest
from mww.tflite import model_file
from mww.tflite.model_file import ModelFile, read_model
from tests.support.needs import needs_tensorflow
from tests.support.networks import ARCHITECTURES, random_weights
from tests.support.same_model import assert_same_model
from tests.support.tflm import run_tflm
from tests.support.waiting import PATIENCE

MODELS = Path(pymicro_wakeword.__file__).parent / "models"
FEATURES = fixtures_dir() / "calibration" / "features.npz"


def write_recovered(model: ModelFile, folder: Path) -> Path:
    """The checkpoint, configuration and ranges of a model, as `mww recover` leaves them."""
    recovered = recover(model)
    checkpoint = folder / "recovered.weights.h5"
    write_files(
        {
            checkpoint: weights_file(recovered.architecture, recovered.weights),
            folder / "training_config.yaml": trainer_configuration(recovered.architecture).encode(),
            folder / "ranges.json": json.dumps(ranges_document(recovered.ranges)).encode(),
        }
    )
    return checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recovered from okay_nabu."""
    return write_recovered(read_model(MODELS / "okay_nabu.tflite"), tmp_path_factory.mktemp("recovered"))


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """okay_nabu, recovered and exported again with real features."""
    options = {"wake_word": "Okay Nabu", "probability_cutoff": 0.85}
    folder = tmp_path_factory.mktemp("exported")
    return export_to_tflite(
        checkpoint, folder, calibration=FEATURES, name="okay_nabu", manifest_options=options, chips=["esp32s3"]
    )


def test_an_export_is_a_model_and_its_manifest(exported: ExportResult) -> None:
    assert exported.written
    assert exported.compatible
    manifest = load_manifest(exported.manifest)
    assert manifest.model == exported.model
    assert (manifest.wake_word, manifest.probability_cutoff, manifest.author) == ("Okay Nabu", 0.85, "")
    assert manifest.tensor_arena_size == exported.tensor_arena_size
    assert [prediction.chip for prediction in exported.arena] == ["esp32s3"]
    assert (exported.calibration.clips, exported.calibration.source) == (640, str(FEATURES))
    assert exported.calibration.input_scale == pytest.approx(26 / 255, rel=1e-6)
    assert sorted(path.name for path in exported.model.parent.iterdir()) == ["okay_nabu.json", "okay_nabu.tflite"]
    assert exported.seconds.keys() == {"read", "network", "calibrate", "quantise", "optimise", "verify"}


def test_each_model_on_the_way_is_parsed_once(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    original = model_file.parse_content

    def count(content: bytes) -> ModelFile:
        parsed.append(hashlib.sha256(content).hexdigest())
        return original(content)

    monkeypatch.setattr(model_file, "parse_content", count)
    result = export_to_tflite(checkpoint, tmp_path, calibration=FEATURES)
    assert parsed.count(result.model_sha256) == 1
    assert len(parsed) == len(set(parsed)) == 3  # of floats, quantised, and with its operators in order


def test_it_answers_as_the_published_model_does(exported: ExportResult) -> None:
    differences = []
    for clip in sorted((fixtures_dir() / "clips" / "okay_nabu").rglob("*.wav")):
        slices = quantize_features(wav_to_features(clip, lead_in=1.0))
        published = run_tflm((MODELS / "okay_nabu.tflite").read_bytes(), slices, 3)
        own = run_tflm(exported.model.read_bytes(), slices, 3)
        heard = np.maximum(published, own) > 12
        assert heard.any()
        differences.append(np.abs(published - own)[heard])
    assert np.concatenate(differences).mean() <= 4


@needs_tensorflow
def test_tensorflow_s_converter_gives_the_same_model(exported: ExportResult, checkpoint: Path, tmp_path: Path) -> None:
    result = export_to_tflite(
        checkpoint, tmp_path, calibration=FEATURES, name="okay_nabu", chips=["esp32s3"], converter="tensorflow"
    )
    assert (exported.converter, result.converter) == ("direct", "tensorflow")
    assert_same_model(read_model(exported.model), read_model(result.model))
    assert [p.breakdown for p in result.arena] == [p.breakdown for p in exported.arena]
    for clip in sorted((fixtures_dir() / "clips" / "okay_nabu").rglob("*.wav"))[:3]:
        slices = quantize_features(wav_to_features(clip, lead_in=1.0))
        outputs, expected = (run_tflm(each.model.read_bytes(), slices, 3) for each in (exported, result))
        assert np.abs(outputs - expected).max() <= 4
        assert np.abs(outputs - expected).mean() < 0.05
        assert detect(outputs, cutoff=0.85, window=5, stride=3) == detect(expected, cutoff=0.85, window=5, stride=3)


def test_a_direct_export_needs_no_tensorflow(checkpoint: Path, tmp_path: Path) -> None:
    program = """
import sys
sys.modules.update(dict.fromkeys(("tensorflow", "keras", "tflite_runtime", "ai_edge_litert", "rich")))  # fail to import
from exporter.tflite import main
sys.exit(main(sys.argv[1:]))
"""
    words = ["--checkpoint", str(checkpoint), "--calibration", str(FEATURES), "--output", str(tmp_path), "--json"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], check=False, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["converter"] == "direct"


def _constants(model: ModelFile) -> dict[tuple[str, int], np.ndarray]:
    sites = read_streaming_graph(model).sites
    tensors = model.main.tensors
    return {
        (site.role, place): model.constant(tensors[index])
        for site in sites
        for place, index in enumerate(site.operator.inputs)
        if index >= 0 and model.is_constant(tensors[index])
    }


def _assert_same(own: ModelFile, published: ModelFile) -> None:
    constants, expected = _constants(own), _constants(published)
    assert constants.keys() == expected.keys()
    for place, values in expected.items():
        np.testing.assert_array_equal(constants[place], values, err_msg=str(place))
    pairs = zip(read_streaming_graph(own).sites, read_streaming_graph(published).sites, strict=True)
    for site, other in pairs:
        ends = (*site.operator.inputs, *site.operator.outputs), (*other.operator.inputs, *other.operator.outputs)
        for index, other_index in zip(*ends, strict=True):
            results, wanted = (m.main.tensors[i].quantization for m, i in ((own, index), (published, other_index)))
            if results and wanted:
                assert results.zero_points == wanted.zero_points
                ulps = np.array(results.scales, "<f4").view("<i4") - np.array(wanted.scales, "<f4").view("<i4")
                assert np.abs(ulps).max() <= 2


def test_recovered_ranges_reproduce_the_published_model(checkpoint: Path, tmp_path: Path) -> None:
    result = export_to_tflite(checkpoint, tmp_path, calibration_ranges=checkpoint.parent / "ranges.json")
    own, published = read_model(result.model), read_model(MODELS / "okay_nabu.tflite")
    _assert_same(own, published)
    clip = next((fixtures_dir() / "clips" / "okay_nabu").rglob("*.wav"))
    slices = quantize_features(wav_to_features(clip))
    assert np.abs(run_tflm(own.content, slices, 3) - run_tflm(published.content, slices, 3)).max() <= 1


@pytest.mark.parametrize("name", ["inception", "padded"])
def test_what_was_exported_can_be_recovered_and_exported_again(name: str, tmp_path: Path) -> None:
    architecture = ARCHITECTURES[name]
    first = tmp_path / "first.weights.h5"
    first.write_bytes(weights_file(architecture, random_weights(architecture)))
    (tmp_path / "training_config.yaml").write_text(trainer_configuration(architecture))
    once = export_to_tflite(first, tmp_path / "once")
    checkpoint = write_recovered(read_model(once.model), tmp_path / "again")
    again = export_to_tflite(checkpoint, tmp_path / "again", calibration_ranges=tmp_path / "again" / "ranges.json")
    _assert_same(read_model(again.model), read_model(once.model))
    assert once.calibration.source == "random"


def test_a_set_without_the_wake_word_is_refused_by_its_cause(checkpoint: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(0, 12, (500, 30, 40)).astype(np.float32)
    with pytest.raises(RefusedExportError, match="highest-output") as refusal:
        export_to_tflite(checkpoint, tmp_path / "out", calibration=noise)
    assert refusal.value.exit_code == 1
    assert "wake word" in (refusal.value.hint or "")
    assert not (tmp_path / "out").exists()
    kept = export_to_tflite(checkpoint, tmp_path / "out", calibration=noise, keep_failed=True)
    assert kept.written
    assert not kept.compatible
    assert kept.model.exists()


FAULTS: dict[str, tuple[Callable[[Path], dict[str, object]], type[MwwError], str]] = {
    "a checkpoint that is not there": (lambda path: {"checkpoint": path / "no.weights.h5"}, CheckpointError, "No such"),
    "a folder for a checkpoint": (lambda path: {"checkpoint": path}, CheckpointError, "folder"),
    "NaN": (lambda path: {"calibration": np.full((500, 9, 40), np.nan)}, CalibrationError, "NaN"),
    "0..1": (lambda path: {"calibration": np.full((500, 9, 40), 0.9)}, CalibrationError, "0.9"),
    "raw floats": (lambda path: {"calibration": np.full((500, 9, 40), 600.0)}, CalibrationError, "600"),
    "below 0": (lambda path: {"calibration": np.full((500, 9, 40), -1.0)}, CalibrationError, "-1"),
    "unscaled integers": (lambda path: {"calibration": np.full((500, 9, 40), 600)}, CalibrationError, "int64"),
    "too few clips": (lambda path: {"calibration": np.full((499, 9, 40), 20.0)}, CalibrationError, "499"),
    "another shape": (lambda path: {"calibration": np.full((500, 9, 41), 20.0)}, CalibrationError, "41"),
    "a missing set": (lambda path: {"calibration": path / "no.npz"}, CalibrationError, "exist"),
    "an empty folder": (lambda path: {"calibration": path}, CalibrationError, "neither"),
    "a broken set": (lambda path: {"calibration": Path(__file__)}, CalibrationError, "is text"),
    "broken ranges": (lambda path: {"calibration_ranges": Path(__file__)}, CalibrationError, "JSON"),
    "a name with a path": (lambda path: {"name": "../x"}, UsageError, "name of the files"),
    "an unknown option": (lambda path: {"manifest_options": {"wakeword": "x"}}, ConfigurationError, "wakeword"),
    "frames of another stride": (
        lambda path: {"calibration": create_default_representative_dataset(stride=2)},
        CalibrationError,
        "stride|shape",
    ),
    "an unknown converter": (lambda path: {"converter": "toco"}, UsageError, "toco"),
    "a folder that is a file": (lambda path: {"output_dir": Path(__file__) / "x"}, OutputError, "folder"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_used_is_one_line_and_leaves_nothing(fault: str, checkpoint: Path, tmp_path: Path) -> None:
    change, error, words = FAULTS[fault]
    (tmp_path / "in").mkdir()
    arguments: dict[str, object] = {"checkpoint": checkpoint, "output_dir": tmp_path / "out"}
    arguments |= change(tmp_path / "in")
    with pytest.raises(error, match=words) as raised:
        export_to_tflite(**arguments)  # type: ignore[arg-type]
    assert raised.value.exit_code == 2
    assert "\n" not in raised.value.message
    assert not (tmp_path / "out").exists()


def test_a_truncated_checkpoint_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.weights.h5"
    cut.write_bytes(checkpoint.read_bytes()[:50_000])
    with pytest.raises(CheckpointError, match=r"cut\.weights\.h5"):
        export_to_tflite(cut, tmp_path / "out", config=checkpoint.parent / "training_config.yaml")


def test_a_checkpoint_that_contradicts_its_configuration_names_both_values(checkpoint: Path, tmp_path: Path) -> None:
    text = (checkpoint.parent / "training_config.yaml").read_text()
    config = tmp_path / "other.yaml"
    config.write_text(text.replace("first_conv_filters: 64", "first_conv_filters: 32"))
    with pytest.raises(CheckpointError, match="first_conv_filters 64, the configuration 32"):
        export_to_tflite(checkpoint, tmp_path / "out", config=config)
    config.write_text(text.replace("[5, 9]", "[5, 11]"))
    with pytest.raises(CheckpointError, match=r"\[5, 9\].*, the configuration .*\[5, 11\]"):
        export_to_tflite(checkpoint, tmp_path / "out", config=config)


def test_the_older_name_still_works_and_warns(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="export_to_tflite"), pytest.raises(UsageError):
        convert_to_tflite(checkpoint, tmp_path, name=".")


@dataclass(frozen=True)
class Choice:
    cutoff: float


def test_the_cutoff_chooser_has_the_last_word(checkpoint: Path, tmp_path: Path) -> None:
    def choose(model: bytes, sliding_window_size: int, feature_step_size: int) -> Choice:
        assert read_model(model).main.inputs
        assert (sliding_window_size, feature_step_size) == (5, 10)
        return Choice(0.61)

    ranges = checkpoint.parent / "ranges.json"
    result = export_to_tflite(checkpoint, tmp_path, calibration_ranges=ranges, choose_cutoff=choose)
    assert load_manifest(result.manifest).probability_cutoff == result.probability_cutoff == 0.61


def test_optimising_changes_no_output(checkpoint: Path, tmp_path: Path) -> None:
    ranges = checkpoint.parent / "ranges.json"
    plain, small = (
        export_to_tflite(checkpoint, tmp_path / str(optimize), calibration_ranges=ranges, optimize=optimize)
        for optimize in (False, True)
    )
    assert small.model.stat().st_size < plain.model.stat().st_size
    assert small.tensor_arena_size <= plain.tensor_arena_size
    slices = quantize_features(wav_to_features(next((fixtures_dir() / "clips" / "okay_nabu").rglob("*.wav"))))
    outputs = [run_tflm(result.model.read_bytes(), slices, 3) for result in (plain, small)]
    np.testing.assert_array_equal(*outputs)

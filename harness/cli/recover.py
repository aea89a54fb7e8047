"""`mww recover`: a published model back to a trained checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.output import emit_json, json_option, say, warn

_FILE = click.Path(path_type=Path)


@click.command("recover", short_help="A published model back to a trained checkpoint.")
@click.argument("model", metavar="FILE.tflite|MANIFEST.json", type=_FILE)
@click.option("--output", required=True, metavar="FILE.weights.h5", type=_FILE, help="The checkpoint to write.")
@click.option(
    "--config-output", metavar="FILE.yaml", type=_FILE, help="Its configuration [training_config.yaml beside it]."
)
@click.option("--ranges-output", metavar="FILE.json", type=_FILE, help="The model's activation ranges.")
@json_option
def command(model: Path, output: Path, config_output: Path | None, ranges_output: Path | None, as_json: bool) -> None:
    """Read the network, its weights and its calibrated ranges out of a streaming INT8 model or a manifest's model.

    The checkpoint has the official trainer's layout, so that training can continue, or it can be exported again. With
    --ranges-output and `mww export --calibration-ranges` the export reproduces the model.
    """
    from exporter.model_analyzer.source import open_source
    from exporter.network.architecture import weight_count
    from exporter.network.settings import architecture_settings
    from exporter.recover import recover, write_recovered

    source = open_source(model).model
    recovered = recover(source)
    config = write_recovered(recovered, output, config=config_output, ranges=ranges_output)
    if recovered.newest_attention_only:
        warn(
            "the model weighs all time steps by the newest attention",
            "an export weighs each time step by its own attention, as in training",
        )
    if as_json:
        document = {
            "model": str(model),
            "model_sha256": source.sha256,
            "checkpoint": str(output),
            "config": str(config),
            "ranges": str(ranges_output) if ranges_output else None,
            "architecture": architecture_settings(recovered.architecture),
        }
        emit_json("mww.recover/1", document)
        return
    network = recovered.architecture
    blocks = f"stride {network.stride}, {len(network.blocks)} blocks, {weight_count(network):,} weights"
    say(f"{output}: {type(network).__name__}, {blocks}")
    say(f"{config}: its configuration")
    if ranges_output:
        say(f"{ranges_output}: {len(recovered.ranges)} activation ranges")

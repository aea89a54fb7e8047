"""The platform `mww_wav_microphone`: it plays the raw samples of the file that MWW_HARNESS_MICROPHONE names."""

import esphome.codegen as cg
import esphome.config_validation as cv
from esphome.components import audio, microphone
from esphome.const import CONF_ID

WavMicrophone = cg.esphome_ns.namespace("mww_harness").class_("WavMicrophone", microphone.Microphone, cg.Component)


def _set_stream_limits(config):
    limits = {"bits_per_sample": 16, "channels": 1, "sample_rate": 16000}
    words = {f"{end}_{name}": value for name, value in limits.items() for end in ("min", "max")}
    audio.set_stream_limits(**words)(config)
    return config


CONFIG_SCHEMA = cv.All(
    microphone.MICROPHONE_SCHEMA.extend({cv.GenerateID(): cv.declare_id(WavMicrophone)}).extend(cv.COMPONENT_SCHEMA),
    _set_stream_limits,
    cv.only_on(["host"]),
)


async def to_code(config):
    """Make the microphone."""
    var = cg.new_Pvariable(config[CONF_ID])
    await cg.register_component(var, config)
    await microphone.register_microphone(var, config)

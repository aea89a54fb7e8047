"""Gives mww_harness an engine on ESPHome's host platform: a process at the other end of a socket. For tests alone."""

import esphome.codegen as cg
import esphome.config_validation as cv

CONFIG_SCHEMA = cv.All(cv.Schema({}), cv.only_on(["host"]))


async def to_code(config):
    """Name the header with the engines."""
    cg.add_define("MWW_HARNESS_ENGINES", "esphome/components/mww_socket_engine/socket_engine.h")

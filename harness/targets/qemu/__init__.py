"""Espressif's QEMU: a chip in software that runs the firmware's own machine code."""

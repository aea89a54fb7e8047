"""The virtual ESP32: bootloader, flash, boot, the firmware's C++ session, faults; a separate process, on loopback."""

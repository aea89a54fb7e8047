"""Firmware and models onto a board, by esptool's public functions."""

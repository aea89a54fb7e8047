"""The content of flash: application images, partition tables, the factory image around them. No board is touched."""

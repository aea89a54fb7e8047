"""What lies in flash: application images, partition tables, the factory image around them. No board is touched."""

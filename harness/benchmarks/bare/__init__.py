"""What users would otherwise write: plain scripts over the packages that the harness, too, is built on."""

"""Plain scripts, as users would write them, over the packages that the harness uses too."""

"""How fast and how small: each benchmark does a thing our way and as users otherwise would, by turns, and compares."""

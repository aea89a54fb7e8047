"""How good a wake word is on labelled clips: labels, counts, rates with their exact intervals."""

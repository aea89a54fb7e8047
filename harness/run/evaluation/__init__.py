"""The quality of a wake word on labelled clips: labels, counts, rates with exact confidence intervals."""

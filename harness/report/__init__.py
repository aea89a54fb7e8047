"""The report of a run: JSON, JUnit, Markdown and one page. Computes no verdict, and prints nothing."""

"""What a run found, written down: JSON, JUnit, Markdown and one page. Computes no verdict, and prints nothing."""

"""`peak.py FILE PROGRAM...` runs a program and writes the most memory of its largest process into FILE, in bytes.

It is a separate program because a new process counts as large as its parent was when it forked.
"""

import resource
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run it; return its exit status."""
    file, *words = sys.argv[1:]
    status = subprocess.call(words)
    Path(file).write_text(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024))
    return status


if __name__ == "__main__":
    sys.exit(main())

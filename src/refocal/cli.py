"""Where the console script of an installation made before 0.1.0 looks for the program: one line that says what to do.

Nothing in refocal imports this file, and it leads nowhere. It also keeps a leftover folder `cli/` with nothing but
compiled files, as an update leaves it, from being imported as an empty package. To be deleted after 0.1.0.
"""

import sys
from typing import NoReturn


def main() -> NoReturn:
    """End with one line on standard error."""
    sys.exit("refocal: the installed `refocal` is older than its sources; run `pip install -e .` in the checkout again")

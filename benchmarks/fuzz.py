"""Give damaged inputs to every reader and count what becomes of them.

    python benchmarks/fuzz.py --inputs 20000
    python benchmarks/fuzz.py --inputs 500 --reader "model torch" --first 7

Each reader runs in a process of its own, with an alarm of 10 s for each input and a bound on its memory. An input is
its seed, and the seeds of what is neither read nor refused in one line are printed. Exits with 1 if there are any.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fuzzing.campaign import child, tally
from fuzzing.readers import READERS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000, help="over all readers together")
    parser.add_argument("--reader", action="append", choices=READERS, help="only this one; repeat for more")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--seconds", type=float, default=3600, help="most time for one reader")
    given = parser.parse_args()
    names = given.reader or list(READERS)
    rows = []
    for name in names:
        rows.append(child(name, given.first, -(-given.inputs // len(names)), given.seconds))
        print(f"{name}: {rows[-1].inputs} inputs, {rows[-1].wrong} uncaught", file=sys.stderr, flush=True)
    print(tally(rows))
    sys.exit(any(row.wrong for row in rows))


if __name__ == "__main__":
    main()

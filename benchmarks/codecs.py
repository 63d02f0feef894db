"""Every codec beside its official program, openzl and memcpy: one process, rounds interleaved, each verified.

    python benchmarks/codecs.py [--only zipnn,qstore] [--threads 1,2] [--rounds 15] [--seconds 12] [--quick]
                                [--store FILE.json] [--markdown FILE.md]
    python benchmarks/codecs.py --from FILE.json --markdown FILE.md

Families are in cases.py, targets in targets.py. Every contestant gets a private copy of the array, made
outside the timed region; outputs are allocated in every round. On a shared machine read what compares times
of the same round, and not the MB/s. A contestant whose package is missing is left out, and its row says why.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # its modules, however this file is loaded

from cases import FAMILIES, FamilySkippedError, Scale
from rounds import Plan, measure
from table import GENERATED, by_case, case_text, markdown, summary_text
from targets import judge

from weightbench import environment
from weightbench.store import write_atomically

Record = dict[str, Any]


def run(families: list[str], scale: Scale, plan: Plan, command: str) -> Record:
    """Measure, print every case when it is done, and return the record of the measurement."""
    begun, date, load = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg()[0]
    if warning := environment.load_warning():
        print(f"note: {warning}", flush=True)
    rows: list[Record] = []
    for family in families:
        try:
            for case in FAMILIES[family](scale):
                done = [{"family": family, **row} for row in measure(case, plan)]
                done = [row if "skipped" in row else {**row, "targets": judge(row)} for row in done]
                print(case_text(done), flush=True)
                rows += done
        except FamilySkippedError as error:
            rows.append({"family": family, "case": "all", "contestant": "all", "skipped": str(error)})
            print(case_text(rows[-1:]), flush=True)
    return {
        "command": command,
        "date": date,
        "seconds": time.monotonic() - begun,
        "load_before": load,
        "load_after": os.getloadavg()[0],
        "threads": list(scale.threads),
        "quick": scale.quick,
        "plan": {"rounds": plan.rounds, "seconds": plan.seconds},
        "environment": environment.record(),
        "rows": rows,
    }


def stored_text(record: Record) -> str:
    """Return the JSON of a record, a row a line."""
    head = json.dumps({key: value for key, value in record.items() if key != "rows"}, allow_nan=False)
    rows = ",\n".join(json.dumps(row, allow_nan=False) for row in record["rows"])
    return f'{head[:-1]}, "rows": [\n{rows}\n]}}\n'


def write_page(path: Path, record: Record) -> None:
    """Write the Markdown page.

    Raises:
        FileExistsError: there is a page that this command did not write.
    """
    if path.exists() and not path.read_text().startswith(GENERATED):
        raise FileExistsError(f"{path} was not written by this command; move it away first")
    write_atomically(path, markdown(record).encode())


def main(arguments: list[str] | None = None) -> int:
    """Measure or read, then print and write what is asked for."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(FAMILIES), help="families, separated by commas")
    parser.add_argument("--threads", default="1,2", help="counts of threads, separated by commas")
    parser.add_argument("--rounds", type=int, help="at most (15; --quick: 3)")
    parser.add_argument(
        "--seconds", type=float, default=12.0, help="no round begins later in a case, after 5"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small arrays: checks the command, measures nothing"
    )
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE.json", help="read, do not measure")
    parser.add_argument("--store", type=Path, metavar="FILE.json", help="write every number")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="write the page of the docs")
    options = parser.parse_args(arguments)
    families = options.only.split(",")
    if unknown := [name for name in families if name not in FAMILIES]:
        parser.error(f"no family {', '.join(unknown)}; there are {', '.join(FAMILIES)}")
    if options.source:
        record = json.loads(options.source.read_text())
        for case in by_case(record["rows"]):
            print(case_text(case))
    else:
        scale = Scale(tuple(sorted({int(count) for count in options.threads.split(",")})), options.quick)
        rounds = options.rounds or (3 if options.quick else 15)
        command = " ".join(["python benchmarks/codecs.py", *arguments])
        record = run(families, scale, Plan(rounds, options.seconds), command)
    print(summary_text(record["rows"]))
    if options.store:
        write_atomically(options.store, stored_text(record).encode())
    if options.markdown:
        write_page(options.markdown, record)
    return 0


if __name__ == "__main__":
    sys.exit(main())

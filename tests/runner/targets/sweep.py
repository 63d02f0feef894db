"""A sweep of four cells, to be killed: ``sweep.py ROOT``. The third hangs until ROOT/go is there."""

import sys
from pathlib import Path

import misbehaving

from weightbench.runner import Limits, Task, run_cell
from weightbench.store import Store


def step(argument: dict[str, str], task: Task) -> object:
    root = Path(argument["root"])
    with (root / "log").open("a") as file:
        file.write(f"{argument['index']}\n")
    (task.workdir / "archive.bin").write_bytes(b"x" * 1000)
    if argument["index"] == "2" and not (root / "go").exists():
        misbehaving.family({"pids": str(root / "pids.new"), "then": "return"}, task)
        (root / "pids.new").rename(root / "pids")
        misbehaving.sleep(None, task)
    return {"result": {"index": int(argument["index"])}}


def main(root: Path) -> None:
    for index in range(4):
        row = run_cell(
            {"index": str(index), "root": str(root)},
            "sweep:step",
            Store(root),
            limits=Limits(120, 2 << 30),
            progress=lambda step: print(step.message, file=sys.stderr, flush=True),
        )
        print(row.status, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""What clients did: operations with when they began and ended, kept in memory and, one JSON object a line, in a file."""

import json
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

OK, FAILED, UNKNOWN = "ok", "failed", "unknown"


@dataclass
class Operation:
    """One invocation by one process (a client that does one thing after the other).

    `sends` are (key, offset or None, value), `polls` (key, offset, value), `ends` (key, end offset seen). A key is a partition."""

    process: str
    start: float
    end: float | None = None
    outcome: str = UNKNOWN
    sends: list[tuple[str, int | None, str]] = field(default_factory=list)
    polls: list[tuple[str, int, str]] = field(default_factory=list)
    ends: list[tuple[str, int]] = field(default_factory=list)
    # Sends count only when the transaction commits.
    transactional: bool = False
    # The group protocol, not the process, chooses what it reads.
    subscribed: bool = False
    # Keys given or taken since the process's operation before.
    rebalanced: list[str] = field(default_factory=list)
    # Reads each key from its beginning to its end after everything else.
    final: bool = False


class Recorder:
    """Operations in the order in which they began."""

    def __init__(self, path: Path | None = None):
        self.operations: list[Operation] = []
        self.faults: list[dict] = []
        self.lock = threading.Lock()
        self.path = path

    def begin(self, process: str, **fields) -> Operation:
        operation = Operation(process, time.monotonic(), **fields)
        with self.lock:
            self.operations.append(operation)
        return operation

    @staticmethod
    def end(operation: Operation, outcome: str) -> None:
        operation.end, operation.outcome = time.monotonic(), outcome

    def fault(self, name: str, target: str) -> dict:
        fault = {"fault": name, "target": target, "start": time.monotonic(), "end": None}
        self.faults.append(fault)
        return fault

    def save(self) -> None:
        if self.path:
            with open(self.path, "w") as file:
                for fault in self.faults:
                    file.write(json.dumps(fault) + "\n")
                for operation in self.operations:
                    file.write(json.dumps(asdict(operation)) + "\n")


def load(path: Path) -> tuple[list[Operation], list[dict]]:
    """A history that was kept: operations and faults."""
    operations, faults = [], []
    with open(path) as file:
        for line in file:
            fields = json.loads(line)
            if "fault" in fields:
                faults.append(fields)
            else:
                for name in ("sends", "polls", "ends"):
                    fields[name] = [tuple(each) for each in fields[name]]
                operations.append(Operation(**fields))
    return operations, faults

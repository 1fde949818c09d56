"""Looks for broken promises in a history, in the manner of Jepsen's Kafka workload. The anomalies' names are Jepsen's; `vanished` and
`stale-read` are added. An index is a place in the order of offsets with the gaps taken out (Kafka's own markers take offsets too).

    python checker.py HISTORY      checks a history that was kept
"""

import sys
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from cycles import find_cycles
from operations import FAILED, OK, Operation, load

# Kafka does not promise these: a transaction's records may have another's between them, and isolation of writes is none.
TOLERATED = {"int-send-skip", "G0"}
# What rebalances can do to members of groups, which may be told of them late.
TOLERATED_OF_SUBSCRIBERS = {"poll-skip", "nonmonotonic-poll"}
EXAMPLES = 10


@dataclass
class Verdict:
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    tolerated: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, name: str, what: str, tolerated: bool = False):
        if tolerated or name in TOLERATED:
            self.tolerated[name] += 1
            return
        self.counts[name] += 1
        if len(self.examples[name]) < EXAMPLES:
            self.examples[name].append(what)

    @property
    def is_valid(self) -> bool:
        return not self.counts

    def __str__(self) -> str:
        if self.is_valid:
            return "valid: no anomaly" + (f" (tolerated: {dict(self.tolerated)})" if self.tolerated else "")
        lines = ["INVALID"]
        for name, count in sorted(self.counts.items()):
            lines.append(f"  {name}: {count}")
            lines += [f"    {example}" for example in self.examples[name]]
        return "\n".join(lines)


class Checker:
    def __init__(self, operations: list[Operation]):
        self.operations = sorted(operations, key=lambda operation: operation.start)
        self.verdict = Verdict()
        self.values: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.offsets: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        self.read: dict[str, dict[str, int]] = defaultdict(dict)
        self.writer: dict[tuple[str, str], Operation] = {}
        for operation in self.operations:
            for key, offset, value in operation.sends:
                self.writer[key, value] = operation
                if offset is not None and operation.outcome == OK:
                    self.note(key, offset, value)
            for key, offset, value in operation.polls:
                self.note(key, offset, value)
                self.read[key][value] = offset
        self.index = {key: {offset: place for place, offset in enumerate(sorted(offsets))} for key, offsets in self.values.items()}

    def note(self, key, offset, value):
        self.values[key][offset].add(value)
        self.offsets[key][value].add(offset)

    def check(self) -> Verdict:
        self.offsets_and_values()
        self.aborted_reads()
        self.losses()
        self.final_read()
        self.stale_reads()
        self.order_of("poll")
        self.order_of("send")
        for name, cycle in find_cycles(self.operations, self.values, self.writer):
            self.verdict.add(name, cycle)
        return self.verdict

    def offsets_and_values(self):
        for key, offsets in self.values.items():
            for offset, values in offsets.items():
                if len(values) > 1:
                    self.verdict.add("inconsistent-offsets", f"{key}/{offset} is {' and '.join(sorted(values))}")
        for key, values in self.offsets.items():
            for value, offsets in values.items():
                if len(offsets) > 1:
                    self.verdict.add("duplicate", f"{value} of {key} is at {', '.join(map(str, sorted(offsets)))}")

    def aborted_reads(self):
        for operation in self.operations:
            own = {(key, value) for key, _, value in operation.sends}
            for key, offset, value in operation.polls:
                writer = self.writer.get((key, value))
                if operation.transactional and (key, value) in own:
                    self.verdict.add("precommitted-read", f"{operation.process} read its own {value} at {key}/{offset} in a transaction")
                elif writer is not None and writer.outcome == FAILED:
                    self.verdict.add("G1a", f"{operation.process} read {value} at {key}/{offset}, whose sending failed")
                elif writer is None:
                    self.verdict.add("G1a", f"{operation.process} read {value} at {key}/{offset}, which nobody sent")

    def losses(self):
        highest = {key: max(reads.values()) for key, reads in self.read.items() if reads}
        for operation in self.operations:
            if operation.outcome != OK:
                continue
            for key, offset, value in operation.sends:
                if value in self.read[key]:
                    continue
                if offset is not None and offset <= highest.get(key, -1):
                    self.verdict.add("lost-write", f"{value} was acknowledged at {key}/{offset}, reads went to {highest[key]}, none had it")
                else:
                    self.verdict.add("unseen", f"{value} was acknowledged at {key}/{offset} and never read")

    def final_read(self):
        """What any consumer saw must still be there when everything is read at the end."""
        finals = [operation for operation in self.operations if operation.final and operation.outcome == OK]
        if not finals:
            return
        seen: dict[str, dict[int, str]] = defaultdict(dict)
        for operation in finals:
            for key, offset, value in operation.polls:
                seen[key][offset] = value
        for operation in self.operations:
            for key, offset, value in operation.polls:
                if seen[key].get(offset) != value:
                    self.verdict.add("vanished", f"{operation.process} read {value} at {key}/{offset}; in the end it is not there")

    def stale_reads(self):
        """An end offset that was asked for after a record was acknowledged lies behind the record."""
        acknowledged: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for operation in self.operations:
            if operation.outcome == OK and operation.end is not None and not operation.transactional:
                for key, offset, _ in operation.sends:
                    if offset is not None:
                        acknowledged[key].append((operation.end, offset))
        highest: dict[str, tuple[list[float], list[int]]] = {}
        for key, entries in acknowledged.items():
            times, tops = [], []
            for moment, offset in sorted(entries):
                times.append(moment)
                tops.append(max(offset, tops[-1]) if tops else offset)
            highest[key] = times, tops
        for operation in self.operations:
            for key, end in operation.ends:
                times, tops = highest.get(key, ([], []))
                place = bisect_right(times, operation.start) - 1
                if place >= 0 and end <= tops[place]:
                    self.verdict.add("stale-read", f"{operation.process} saw {key} end at {end} after {tops[place]} was acknowledged")

    def order_of(self, kind: str):
        """Each process moves on by one where it reads, and forward where it writes."""
        last: dict[tuple[str, str], int] = {}
        for operation in self.operations:
            if operation.outcome == FAILED:
                continue
            for key in operation.rebalanced:
                last.pop((operation.process, key), None)
            records = operation.polls if kind == "poll" else [each for each in operation.sends if each[1] is not None]
            by_key: dict[str, list[int]] = defaultdict(list)
            for key, offset, _ in records:
                by_key[key].append(self.index[key].get(offset, -1))
            for key, places in by_key.items():
                before = last.get((operation.process, key))
                if before is not None:
                    self.step(kind, operation, key, before, places[0], within=False)
                for one, other in pairwise(places):
                    self.step(kind, operation, key, one, other, within=True)
                last[operation.process, key] = places[-1]

    def step(self, kind: str, operation: Operation, key: str, before: int, after: int, within: bool):
        prefix = "int-" if within else ""
        what = f"{operation.process} went from index {before} to {after} of {key} at {operation.start:.3f}"
        if after < before + 1:
            name = f"{prefix}nonmonotonic-{kind}"
        elif after > before + 1 and (kind == "poll" or within):
            name = f"{prefix}{kind}-skip"
        else:
            return
        if within and key in operation.rebalanced:
            return
        self.verdict.add(name, what, tolerated=operation.subscribed and name in TOLERATED_OF_SUBSCRIBERS)


def check(operations: list[Operation]) -> Verdict:
    return Checker(operations).check()


if __name__ == "__main__":
    verdict = check(load(Path(sys.argv[1]))[0])
    print(verdict)
    sys.exit(0 if verdict.is_valid else 1)

"""What was sent, acknowledged and read, and the check that no promise was broken. The anomalies have Jepsen's names for logs."""

import threading
from collections import defaultdict
from dataclasses import dataclass, field


@dataclass
class History:
    """Offsets and values by partition. A value is `writer:number`; every partition may have several writers."""

    acknowledged: dict[int, list[tuple[int, bytes]]] = field(default_factory=lambda: defaultdict(list))
    polled: dict[int, list[tuple[int, bytes]]] = field(default_factory=lambda: defaultdict(list))
    failed: set[bytes] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, partition: int, offset: int, value: bytes) -> None:
        with self.lock:
            self.acknowledged[partition].append((offset, value))

    def poll(self, partition: int, offset: int, value: bytes) -> None:
        self.polled[partition].append((offset, value))

    def acknowledged_count(self) -> int:
        with self.lock:
            return sum(map(len, self.acknowledged.values()))

    def anomalies(self, final: dict[int, list[tuple[int, bytes]]], idempotent: bool) -> list[str]:
        """`final` is the whole log at the end, by partition."""
        found: list[str] = []
        for partition, log in final.items():
            by_offset = dict(log)
            found += self._lost(partition, by_offset)
            found += self._polls(partition, by_offset)
            found += _order(partition, log, idempotent)
        return found

    def _lost(self, partition, by_offset) -> list[str]:
        found = []
        for offset, value in self.acknowledged[partition]:
            if offset not in by_offset:
                found.append(f"lost-write: {value!r} was acknowledged at {partition}/{offset} and is gone")
            elif by_offset[offset] != value:
                found.append(f"inconsistent-offsets: {partition}/{offset} was {value!r} and is {by_offset[offset]!r}")
        return found

    def _polls(self, partition, by_offset) -> list[str]:
        found = []
        before = None
        for offset, value in self.polled[partition]:
            if by_offset.get(offset) != value:
                found.append(f"inconsistent-offsets: {partition}/{offset} was read as {value!r} and is {by_offset.get(offset)!r}")
            if before is not None and offset > before + 1:
                found.append(f"poll-skip: {partition} went from {before} to {offset}")
            if before is not None and offset <= before:
                found.append(f"nonmonotonic-poll: {partition} went from {before} to {offset}")
            before = offset
        return found


def _order(partition, log, idempotent) -> list[str]:
    """Offsets without gaps; and with idempotent writers, each one's numbers once and rising."""
    found = []
    last: dict[bytes, int] = {}
    for expected, (offset, value) in enumerate(log, start=log[0][0] if log else 0):
        if offset != expected:
            found.append(f"offset-gap: {partition} has {offset} where {expected} was due")
            break
        writer, number = value.split(b":")
        if idempotent:
            if int(number) == last.get(writer):
                found.append(f"duplicate: {value!r} again at {partition}/{offset}")
            elif int(number) < last.get(writer, -1):
                found.append(f"nonmonotonic-send: {value!r} behind {last[writer]} at {partition}/{offset}")
        last[writer] = int(number)
    return found

"""A thread of a Kafka Streams application as far as its group knows it: joins, takes tasks, lets go of them, leaves. Speaks the protocol
itself (KIP-1071, StreamsGroupHeartbeat version 0), since of the clients that tests can have only Java's does."""

import struct
import uuid

from broker import wait_until
from raw import ask

FIND_COORDINATOR, HEARTBEAT = 10, 88
# COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR: look again.
ELSEWHERE = {14, 15, 16}


def number(value: int, kind: str = "i") -> bytes:
    return struct.pack(">" + kind, value)


def unsigned(value: int) -> bytes:
    text = bytearray()
    while value >= 0x80:
        text.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(text + bytes([value]))


def string(value: str | None) -> bytes:
    if value is None:
        return b"\0"
    return unsigned(len(value.encode()) + 1) + value.encode()


def array(items: list[bytes] | None) -> bytes:
    return b"\0" if items is None else unsigned(len(items) + 1) + b"".join(items)


def tasks(owned: dict[str, set[int]] | None) -> bytes:
    if owned is None:
        return array(None)
    return array([string(name) + array([number(each) for each in sorted(found)]) + b"\0" for name, found in owned.items() if found])


class Reader:
    def __init__(self, data: bytes):
        self.data, self.place = data, 0

    def number(self, kind: str = "i") -> int:
        [value] = struct.unpack_from(">" + kind, self.data, self.place)
        self.place += struct.calcsize(">" + kind)
        return value

    def unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self.number("B")
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def string(self) -> str | None:
        length = self.unsigned() - 1
        if length < 0:
            return None
        self.place += length
        return self.data[self.place - length : self.place].decode()

    def array(self, item) -> list | None:
        length = self.unsigned() - 1
        return None if length < 0 else [item() for _ in range(length)]

    def end_of_fields(self) -> None:
        assert self.unsigned() == 0, "there are tagged fields that nobody expects"

    def tasks(self) -> dict[str, set[int]] | None:
        def one():
            name, found = self.string(), self.array(self.number)
            self.end_of_fields()
            return name, set(found)

        found = self.array(one)
        return None if found is None else dict(found)


def coordinator_address(addresses: list[str], group: str) -> str | None:
    """Where the group's coordinator is now, as any broker that answers says; None when none knows one."""
    for known in addresses:
        try:
            reader = Reader(ask(known, FIND_COORDINATOR, 4, number(0, "b") + array([string(group)]) + b"\0"))
        except (OSError, AssertionError):
            continue
        reader.number()

        def found():
            reader.string(), reader.number()
            host, port, error = reader.string(), reader.number(), reader.number("h")
            reader.string()
            reader.end_of_fields()
            return f"{host}:{port}" if error == 0 else None

        [address] = reader.array(found)
        if address:
            return address
    return None


class StreamsMember:
    """`addresses` are of the brokers that run, or a function that names them; `changelogs` are topics of state, which the broker creates. `has` are the tasks that it has been given and not told to give back."""

    def __init__(self, addresses, group: str, sources: list[str], changelogs: list[str] = ()):
        self.addresses = addresses if callable(addresses) else lambda: addresses
        self.group = group
        self.id = str(uuid.uuid4())
        self.epoch = 0
        self.has: dict[str, set[int]] = {}
        self.statuses: list[tuple[int, str]] = []
        # How often it was told tasks, or refused.
        self.assignments = 0
        self.errors: list[int] = []
        self.sources, self.changelogs = sources, changelogs
        self.address: str | None = None
        # The broker has to hear what the member has after each change.
        self.must_tell = True

    @property
    def partitions(self) -> set[int]:
        return self.has.get("0", set())

    def topology(self) -> bytes:
        topics = [string(name) + number(0) + number(0, "h") + array([]) + b"\0" for name in self.changelogs]
        subtopology = (
            string("0") + array([string(name) for name in self.sources]) + array([]) + array(topics) + array([]) + array([]) + array([])
            + b"\0")
        return number(0) + array([subtopology]) + b"\0"

    def request(self) -> bytes:
        joins = self.epoch == 0
        tells = joins or self.must_tell
        owned = {} if joins else self.has
        return (
            string(self.group) + string(self.id) + number(self.epoch) + number(0) + string(None) + string(None)
            + number(10_000 if joins else -1) + (number(1, "b") + self.topology() if joins else number(-1, "b"))
            + tasks(owned if tells else None) + tasks({} if tells else None) + tasks({} if tells else None)
            + string(self.id if joins else None) + number(-1, "b") + array([] if joins else None) + array(None) + array(None)
            + number(0, "b") + b"\0")

    def beat(self) -> int:
        """One heartbeat, to whoever coordinates by now; the error that the broker answers with."""

        def answered():
            self.address = self.address or coordinator_address(self.addresses(), self.group)
            if self.address is None:
                return None
            try:
                reader = Reader(ask(self.address, HEARTBEAT, 0, self.request()))
            except (OSError, AssertionError):
                self.address = None
                return None
            reader.number()
            error = reader.number("h")
            if error in ELSEWHERE:
                self.address = None
                return None
            return error, reader

        error, reader = wait_until(answered, "a coordinator answers", 30)
        if error:
            self.errors.append(error)
            return error
        if self.epoch >= 0:
            self.read(reader)
        return 0

    def read(self, reader: Reader) -> None:
        reader.string(), reader.string()
        self.epoch = reader.number()
        reader.number(), reader.number(), reader.number()

        def status():
            found = reader.number("b"), reader.string()
            reader.end_of_fields()
            return found

        self.statuses = reader.array(status) or []
        given = reader.tasks()
        self.must_tell = given is not None
        if given is not None:
            self.has = given
            self.assignments += 1

    def leave(self) -> None:
        self.epoch = -1
        assert self.beat() == 0

"""Thousands of members of one group on one coordinator: how long a rebalance takes, and what it costs the broker.

    python3 Benchmarks/groups --binary .build/release/martlet --members 5000

Starts a broker of its own and plays the members itself, each over a connection of its own and with the requests that clients send: for the classic
protocol JoinGroup, SyncGroup and Heartbeat, for the newer one (KIP-848) ConsumerGroupHeartbeat. The client's own work is in the times, so
they are an upper bound; CPU seconds and resident memory are the broker's alone.
"""

import argparse
import json
import os
import resource
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path



def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def compact(text: str | None) -> bytes:
    return b"\0" if text is None else varint(len(text.encode()) + 1) + text.encode()


def data(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value


class Reader:
    def __init__(self, body: bytes):
        self.body, self.at = body, 0

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(">" + form, self.body, self.at)
        self.at += struct.calcsize(form)
        return value

    def take(self, count: int) -> bytes:
        self.at += count
        return self.body[self.at - count:self.at]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.body[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def string(self) -> str:
        return self.take(max(0, self.number("h"))).decode()

    def compact(self) -> str | None:
        length = self.varint()
        return None if length == 0 else self.take(length - 1).decode()


class Wire:
    """A connection for each member, and callbacks for the answers."""

    def __init__(self, port: int, count: int):
        self.selector = selectors.DefaultSelector()
        self.sockets = []
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets.append(sock)
        self.buffers = {sock: bytearray() for sock in self.sockets}
        for sock in self.sockets:
            self.selector.register(sock, selectors.EVENT_READ)
        self.waiting = {}
        self.next = 0

    def send(self, index: int, api: int, version: int, flexible: bool, body: bytes, callback) -> None:
        self.next += 1
        header = struct.pack(">hhi", api, version, self.next) + string("bench") + (b"\0" if flexible else b"")
        self.waiting[self.next] = callback
        frame = header + body
        self.sockets[index % len(self.sockets)].sendall(struct.pack(">i", len(frame)) + frame)

    def poll(self, seconds: float) -> None:
        for key, _ in self.selector.select(seconds):
            sock = key.fileobj
            chunk = sock.recv(1 << 20)
            if not chunk:
                raise SystemExit("the broker closed a connection")
            buffer = self.buffers[sock]
            buffer += chunk
            while len(buffer) >= 4:
                (size,) = struct.unpack_from(">i", buffer)
                if len(buffer) < 4 + size:
                    break
                body = bytes(buffer[4:4 + size])
                del buffer[:4 + size]
                self.waiting.pop(struct.unpack_from(">i", body)[0])(Reader(body[4:]))

    def run(self, done, what: str, seconds: float = 300) -> float:
        began = time.monotonic()
        while not done():
            self.poll(0.05)
            if time.monotonic() - began > seconds:
                raise SystemExit(f"not within {seconds} s: {what}")
        return time.monotonic() - began


class Broker:
    def __init__(self, binary: str, settings: dict[str, str]):
        self.directory = Path(tempfile.mkdtemp(prefix="martlet-bench-groups-"))
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            second.bind(("127.0.0.1", 0))
            self.port, controller = first.getsockname()[1], second.getsockname()[1]
        properties = {
            "process.roles": "broker,controller", "node.id": "1", "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}", "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT", "log.dirs": str(self.directory / "data"),
            "martlet.admin.listeners": "", "offsets.topic.replication.factor": "1", "offsets.topic.num.partitions": "1", "group.initial.rebalance.delay.ms": "3000",
            **settings,
        }
        config = self.directory / "server.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        subprocess.run([binary, "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(config)], check=True, capture_output=True)
        self.process = subprocess.Popen([binary, "server", str(config)], stdout=open(self.directory / "log", "wb"), stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise SystemExit((self.directory / "log").read_text()[-2000:])
                time.sleep(0.05)

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, name: str = "VmRSS") -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
        return 0

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        shutil.rmtree(self.directory, ignore_errors=True)


class Measure:
    def __init__(self, broker: Broker):
        self.broker = broker
        self.cpu, self.began = broker.cpu(), time.monotonic()

    def result(self) -> dict[str, float]:
        return {
            "seconds": round(time.monotonic() - self.began, 2), "cpuSeconds": round(self.broker.cpu() - self.cpu, 2),
            "residentMegabytes": round(self.broker.memory(), 1),
        }


def prepare(wire: Wire, group: str, partitions: int) -> None:
    """Makes the topic, and the offsets topic by asking for the coordinator."""
    state = {}
    body = struct.pack(">i", 1) + string("t") + struct.pack(">ihii", partitions, 1, 0, 0) + struct.pack(">ib", 30_000, 0)
    wire.send(0, 19, 4, False, body, lambda reader: state.setdefault("topic", True))
    wire.run(lambda: "topic" in state, "the topic is created")

    def found(reader: Reader) -> None:
        reader.number("i")
        state["error"] = reader.number("h")

    deadline = time.monotonic() + 30
    while state.get("error", -1) != 0:
        state.pop("error", None)
        wire.send(0, 10, 1, False, string(group) + b"\0", found)
        wire.run(lambda: "error" in state, "the coordinator is found")
        if time.monotonic() > deadline:
            raise SystemExit(f"no coordinator: error {state['error']}")
        time.sleep(0.1)


# ---- classic

SUBSCRIPTION = struct.pack(">hi", 1, 1) + string("t") + struct.pack(">ii", -1, 0)


def assignment(partitions: list[int]) -> bytes:
    body = struct.pack(">h", 1)
    body += struct.pack(">i", 1) + string("t") + struct.pack(">i", len(partitions)) + b"".join(struct.pack(">i", each) for each in partitions)
    return body + struct.pack(">i", -1)


class ClassicGroup:
    """All members of a classic group, versions 5 (join), 3 (sync, heartbeat) and 0 (leave)."""

    def __init__(self, wire: Wire, group: str, count: int, partitions: int):
        self.wire, self.group, self.partitions = wire, group, partitions
        self.ids = [""] * count
        self.generation = [0] * count
        self.assigned = [False] * count
        self.left: set[int] = set()

    def join(self, index: int) -> None:
        self.assigned[index] = False
        body = string(self.group) + struct.pack(">ii", 60_000, 120_000) + string(self.ids[index]) + struct.pack(">h", -1)
        body += string("consumer") + struct.pack(">i", 1) + string("range") + data(SUBSCRIPTION)
        self.wire.send(index, 11, 5, False, body, lambda reader: self.joined(index, reader))

    def joined(self, index: int, reader: Reader) -> None:
        reader.number("i")
        error = reader.number("h")
        generation = reader.number("i")
        reader.string()
        leader = reader.string()
        member = reader.string()
        if error in (79, 25, 27):
            self.ids[index] = member if error == 79 else self.ids[index] if error == 27 else ""
            return self.join(index)
        if error:
            raise SystemExit(f"join: error {error}")
        self.ids[index], self.generation[index] = member, generation
        assignments = b""
        count = 0
        if leader == member:
            members = []
            for _ in range(reader.number("i")):
                members.append(reader.string())
                if reader.number("h") >= 0:
                    raise SystemExit("no static members here")
                reader.take(reader.number("i"))
            shares = [[] for _ in members]
            for partition in range(self.partitions):
                shares[partition % len(members)].append(partition)
            count = len(members)
            assignments = b"".join(string(name) + data(assignment(share)) for name, share in zip(members, shares))
        body = string(self.group) + struct.pack(">i", generation) + string(member) + struct.pack(">h", -1)
        self.wire.send(index, 14, 3, False, body + struct.pack(">i", count) + assignments, lambda reader: self.synced(index, reader))

    def synced(self, index: int, reader: Reader) -> None:
        reader.number("i")
        error = reader.number("h")
        if error == 27:
            return self.join(index)
        if error:
            raise SystemExit(f"sync: error {error}")
        self.assigned[index] = True

    def heartbeat(self, index: int, done) -> None:
        def beaten(reader: Reader) -> None:
            reader.number("i")
            error = reader.number("h")
            if error == 27:
                self.join(index)
            elif error not in (0, 22):
                raise SystemExit(f"heartbeat: error {error}")
            done()

        body = string(self.group) + struct.pack(">i", self.generation[index]) + string(self.ids[index]) + struct.pack(">h", -1)
        self.wire.send(index, 12, 3, False, body, beaten)

    def settle(self, what: str) -> None:
        """Waits until all are assigned; members beat every three seconds meanwhile, as clients do, and hear of rebalances so."""
        next_beat = time.monotonic() + 3

        def done() -> bool:
            nonlocal next_beat
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + 3
                for index in self.present():
                    if self.assigned[index]:
                        self.heartbeat(index, lambda: None)
            return self.settled()

        self.wire.run(done, what)

    def leave(self, index: int) -> None:
        self.left.add(index)
        self.wire.send(index, 13, 1, False, string(self.group) + string(self.ids[index]), lambda reader: None)

    def present(self) -> list[int]:
        return [index for index in range(len(self.ids)) if index not in self.left]

    def settled(self) -> bool:
        return all(self.assigned[index] for index in self.present()) and len({self.generation[index] for index in self.present()}) == 1


# ---- KIP-848


class ConsumerGroup:
    """All members of a consumer group, ConsumerGroupHeartbeat version 1."""

    def __init__(self, wire: Wire, group: str, count: int, partitions: int):
        self.wire, self.group, self.partitions = wire, group, partitions
        self.ids = [str(uuid.uuid4()) for _ in range(count)]
        self.epoch = [0] * count
        self.owned: list[dict[bytes, list[int]]] = [{} for _ in range(count)]
        self.left: set[int] = set()
        self.under_way = 0
        self.beats = 0

    def heartbeat(self, index: int, leaving: bool = False) -> None:
        joining = self.epoch[index] == 0
        body = compact(self.group) + compact(self.ids[index]) + struct.pack(">i", -1 if leaving else self.epoch[index])
        body += compact(None) + compact(None) + struct.pack(">i", 120_000 if joining else -1)
        body += (b"\x02" + compact("t")) if joining else b"\0"
        body += compact(None) + compact(None)
        owned = self.owned[index]
        body += varint(len(owned) + 1)
        for topic, partitions in owned.items():
            body += topic + varint(len(partitions) + 1) + b"".join(struct.pack(">i", each) for each in partitions) + b"\0"
        self.under_way += 1
        self.beats += 1
        self.wire.send(index, 68, 1, True, body + b"\0", lambda reader: self.beaten(index, reader, leaving))

    def beaten(self, index: int, reader: Reader, leaving: bool) -> None:
        self.under_way -= 1
        reader.varint()
        reader.number("i")
        error = reader.number("h")
        message = reader.compact()
        if error:
            raise SystemExit(f"heartbeat: error {error} {message}")
        reader.compact()
        epoch = reader.number("i")
        reader.number("i")
        if leaving:
            return
        self.epoch[index] = epoch
        if reader.number("b") >= 0:
            owned = {}
            for _ in range(reader.varint() - 1):
                topic = reader.take(16)
                owned[topic] = [reader.number("i") for _ in range(reader.varint() - 1)]
                reader.varint()
            self.owned[index] = owned

    def leave(self, index: int) -> None:
        self.left.add(index)
        self.heartbeat(index, leaving=True)

    def present(self) -> list[int]:
        return [index for index in range(len(self.ids)) if index not in self.left]

    def settled(self) -> bool:
        present = self.present()
        if len({self.epoch[index] for index in present}) != 1 or self.epoch[present[0]] == 0:
            return False
        sizes = [sum(map(len, self.owned[index].values())) for index in present]
        return sum(sizes) == self.partitions and max(sizes) - min(sizes) <= 1

    def round(self) -> None:
        """One heartbeat of everybody."""
        for index in self.present():
            self.heartbeat(index)
        self.wire.run(lambda: self.under_way == 0, "everybody is answered")


def classic(broker: Broker, members: int, partitions: int) -> dict:
    wire = Wire(broker.port, members)
    prepare(wire, "classic", partitions)
    result = {"idle": {"residentMegabytes": round(broker.memory(), 1)}}
    group = ClassicGroup(wire, "classic", members, partitions)
    measure = Measure(broker)
    for index in range(members):
        group.join(index)
    group.settle("all have joined")
    result["everybodyJoins"] = measure.result()
    measure = Measure(broker)
    left = [members]
    for index in group.present():
        group.heartbeat(index, lambda: left.__setitem__(0, left[0] - 1))
    wire.run(lambda: left[0] == 0, "all are answered")
    result["oneHeartbeatEach"] = measure.result()
    measure = Measure(broker)
    group.leave(0)
    beats = [0]
    for index in group.present():
        beats[0] += 1
        group.heartbeat(index, lambda: beats.__setitem__(0, beats[0] - 1))
    wire.run(lambda: beats[0] == 0, "all are answered")
    group.settle("the rebalance after one left")
    result["oneLeaves"] = measure.result()
    return result


def consumer(broker: Broker, members: int, partitions: int) -> dict:
    wire = Wire(broker.port, members)
    prepare(wire, "consumer", partitions)
    result = {"idle": {"residentMegabytes": round(broker.memory(), 1)}}
    group = ConsumerGroup(wire, "consumer", members, partitions)

    def settle(name: str) -> None:
        rounds = 0
        while not group.settled():
            group.round()
            rounds += 1
            if rounds > 400:
                raise SystemExit(f"{name}: not settled after {rounds} rounds of heartbeats")
            if not group.settled():
                # Clients wait for their heartbeat interval; half a second stands for it.
                time.sleep(0.5)
        result[name]["heartbeatRounds"] = rounds

    measure = Measure(broker)
    result["everybodyJoins"] = {}
    settle("everybodyJoins")
    result["everybodyJoins"].update(measure.result())
    measure = Measure(broker)
    group.round()
    result["oneHeartbeatEach"] = measure.result()
    measure = Measure(broker)
    result["oneLeaves"] = {}
    group.leave(0)
    wire.run(lambda: group.under_way == 0, "it has left")
    group.round()
    settle("oneLeaves")
    result["oneLeaves"].update(measure.result())
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=".build/release/martlet")
    parser.add_argument("--members", type=int, default=5000)
    parser.add_argument("--partitions", type=int, default=5000)
    parser.add_argument("--only", choices=["classic", "consumer"])
    parser.add_argument("--json", help="write results to this file")
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    results = {}
    for name, scenario in (("classic", classic), ("consumer", consumer)):
        if options.only and options.only != name:
            continue
        broker = Broker(os.path.abspath(options.binary), {})
        try:
            results[name] = scenario(broker, options.members, options.partitions)
            results[name]["peakMegabytes"] = round(broker.memory("VmHWM"), 1)
        finally:
            broker.stop()
        print(name, json.dumps(results[name], indent=2), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    sys.exit(main())

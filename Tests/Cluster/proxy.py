"""A TCP proxy that plays the network between nodes, data centres and clients. It runs as a process of its own, so that it is
neither slowed by the workload nor paused with a node:

    python proxy.py CONTROL_SOCKET

Every listener of a node is advertised at a port of the proxy. Who connects is found out by the process that owns the other end of
the connection, so all nodes may know a node by the same address and every direction between every two can still be treated by
itself: delayed, made slow, cut. Bytes on a cut link wait, as TCP's would; the news that a connection ended waits too. Commands are
JSON, one object a line, each answered by one line."""

import asyncio
import contextlib
import json
import os
import sys
from collections import deque

ANYBODY = "client"
WAITING_LIMIT = 4 << 20


class Link:
    """One direction between two parties: what its bytes suffer."""

    def __init__(self):
        self.delay = 0.0
        self.bandwidth = 0
        self.is_cut = False
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.busy_until = 0.0
        self.pumps: set["Pump"] = set()
        self.bytes = 0

    @property
    def is_plain(self) -> bool:
        return not self.is_cut and self.delay == 0 and self.bandwidth == 0

    def change(self, delay=None, bandwidth=None, cut=None):
        if delay is not None:
            self.delay = delay
        if bandwidth is not None:
            self.bandwidth, self.busy_until = bandwidth, 0.0
        if cut is not None:
            self.is_cut = cut
            (self.is_open.clear if cut else self.is_open.set)()
        for pump in list(self.pumps):
            pump.deliver()

    def due(self, size: int, now: float) -> float:
        if self.bandwidth:
            self.busy_until = max(now, self.busy_until) + size / self.bandwidth
            return self.busy_until + self.delay
        return now + self.delay


class Pump:
    """Carries the bytes of one connection in one direction. None in the queue is the end of the connection."""

    def __init__(self, link: Link, source: "End", sink: "End", loop):
        self.link, self.source, self.sink, self.loop = link, source, sink, loop
        self.queue: deque[tuple[float, bytes | None]] = deque()
        self.waiting = 0
        self.timer = None
        link.pumps.add(self)

    def feed(self, data: bytes | None):
        self.link.bytes += len(data or b"")
        if not self.queue and self.link.is_plain:
            return self.write(data)
        self.queue.append((self.link.due(len(data or b""), self.loop.time()), data))
        self.waiting += len(data or b"")
        if self.waiting > WAITING_LIMIT:
            self.source.hold("waiting", True)
        self.deliver()

    def deliver(self):
        if self.timer:
            self.timer.cancel()
            self.timer = None
        if self.link.is_cut:
            return
        now = self.loop.time()
        while self.queue and (self.link.is_plain or self.queue[0][0] <= now):
            _, data = self.queue.popleft()
            self.waiting -= len(data or b"")
            self.write(data)
        if self.waiting <= WAITING_LIMIT:
            self.source.hold("waiting", False)
        if self.queue:
            self.timer = self.loop.call_at(self.queue[0][0], self.deliver)

    def write(self, data: bytes | None):
        if data is None:
            self.link.pumps.discard(self)
            self.sink.close()
        else:
            self.sink.write(data)


class End(asyncio.Protocol):
    """One end of a proxied connection."""

    def __init__(self):
        self.transport = None
        self.pump: Pump | None = None
        self.other: "End | None" = None
        self.reasons: set[str] = set()
        self.ended = False

    def connection_made(self, transport):
        self.transport = transport
        self.apply_holds()

    def hold(self, reason: str, on: bool):
        before = bool(self.reasons)
        (self.reasons.add if on else self.reasons.discard)(reason)
        if bool(self.reasons) != before:
            self.apply_holds()

    def apply_holds(self):
        if self.transport and not self.transport.is_closing():
            if self.reasons and self.transport.is_reading():
                self.transport.pause_reading()
            elif not self.reasons and not self.transport.is_reading():
                self.transport.resume_reading()

    def data_received(self, data):
        self.pump.feed(data)

    def write(self, data):
        if self.transport and not self.transport.is_closing():
            self.transport.write(data)

    def pause_writing(self):
        self.other.hold("slow reader", True)

    def resume_writing(self):
        self.other.hold("slow reader", False)

    def close(self):
        if self.transport:
            self.transport.close()

    def connection_lost(self, _):
        if not self.ended:
            self.ended = True
            if self.pump:
                self.pump.feed(None)
            if self.other:
                # Nobody is left to read what comes from there.
                self.other.hold("slow reader", False)


class Proxy:
    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.links: dict[tuple[str, str], Link] = {}
        self.pids: dict[str, int] = {}
        self.ports: dict[int, dict] = {}
        self.ends: dict[End, tuple[str, str]] = {}
        self.opening = None

    def link(self, source: str, sink: str) -> Link:
        return self.links.setdefault((source, sink), Link())

    async def open(self, port: int):
        entry = self.ports[port]
        if entry["server"] is None:
            entry["server"] = await self.loop.create_server(
                lambda: Arrival(self, entry), "127.0.0.1", port, reuse_address=True, backlog=512)

    async def open_again(self):
        """Opens ports whose targets listen again, until there are none left that wait for that. One look at the kernel's table for all of
        them: it is long where many tests run."""
        while suspended := {port: entry for port, entry in self.ports.items() if entry["suspended"]}:
            began = self.loop.time()
            listening = listening_ports()
            for port, entry in suspended.items():
                if entry["target"] in listening:
                    entry["suspended"] = False
                    await self.open(port)
            await asyncio.sleep(max(0.01, 4 * (self.loop.time() - began)))
        self.opening = None

    async def command(self, words: dict) -> dict:
        match words["do"]:
            case "listen":
                self.ports[words["port"]] = {"target": words["target"], "node": words["node"], "server": None, "suspended": False}
                await self.open(words["port"])
            case "pids":
                self.pids.update(words["pids"])
            case "suspend":
                # The process behind is gone: connecting is refused until something listens there again.
                for port, entry in self.ports.items():
                    if entry["node"] == words["node"] and not entry["suspended"]:
                        entry["suspended"] = True
                        if entry["server"]:
                            entry["server"].close()
                            entry["server"] = None
                self.opening = self.opening or asyncio.ensure_future(self.open_again())
            case "link":
                self.link(words["from"], words["to"]).change(words.get("delay"), words.get("bandwidth"), words.get("cut"))
            case "break":
                # Connections between the two end, as by a middlebox that forgot them.
                for end, parties in list(self.ends.items()):
                    if set(parties) == {words["from"], words["to"]} and end.transport:
                        end.transport.abort()
            case "traffic":
                return {"bytes": {f"{source}>{sink}": link.bytes for (source, sink), link in self.links.items()}}
            case other:
                return {"error": f"unknown command {other}"}
        return {"ok": True}


class Arrival(End):
    """The end that connected; finds out who it is, then connects to the target."""

    def __init__(self, proxy: Proxy, entry: dict):
        super().__init__()
        self.proxy, self.entry = proxy, entry
        self.reasons.add("connecting")

    def connection_made(self, transport):
        super().connection_made(transport)
        asyncio.ensure_future(self.connect(transport.get_extra_info("peername")[1]))

    async def connect(self, peer_port: int):
        proxy, sink = self.proxy, self.entry["node"]
        source = owner(peer_port, proxy.pids)
        there, back = proxy.link(source, sink), proxy.link(sink, source)
        while there.is_cut or back.is_cut:
            await there.is_open.wait()
            await back.is_open.wait()
        if self.ended:
            return
        if there.delay + back.delay:
            await asyncio.sleep(there.delay + back.delay)
        try:
            _, far = await proxy.loop.create_connection(End, "127.0.0.1", self.entry["target"])
        except OSError:
            self.transport.abort()
            return
        self.other, far.other = far, self
        self.pump, far.pump = Pump(there, self, far, proxy.loop), Pump(back, far, self, proxy.loop)
        proxy.ends[self] = (source, sink)
        if self.ended:
            self.pump.feed(None)
        self.hold("connecting", False)

    def connection_lost(self, error):
        self.proxy.ends.pop(self, None)
        super().connection_lost(error)


def sockets(mark: str):
    """Local port, state and inode of the sockets in whose lines of the kernel's table the mark is."""
    with open("/proc/net/tcp") as table:
        next(table)
        for line in table:
            if mark in line:
                fields = line.split(maxsplit=10)
                yield int(fields[1].split(":")[1], 16), fields[3], fields[9]


def listening_ports() -> set[int]:
    return {local for local, state, _ in sockets(" 0A ") if state == "0A"}


def owner(port: int, pids: dict[str, int]) -> str:
    """The node whose process has the socket with this local port."""
    inode = next((inode for local, state, inode in sockets(f":{port:04X} ") if local == port and state != "0A"), None)
    if inode is None:
        return ANYBODY
    wanted = f"socket:[{inode}]"
    for node, pid in pids.items():
        # The process may end meanwhile, and another thread of it may close one of its files.
        with contextlib.suppress(OSError):
            for descriptor in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(descriptor.path) == wanted:
                        return node
    return ANYBODY


async def main(control: str):
    # The network is not slower because the machine is busy, where this user may say so.
    with contextlib.suppress(OSError):
        os.nice(-15)
    proxy = Proxy()

    async def serve(reader, writer):
        while line := await reader.readline():
            try:
                answer = await proxy.command(json.loads(line))
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            writer.write(json.dumps(answer).encode() + b"\n")
        # The kit is gone, so nobody needs the network any more.
        os._exit(0)

    server = await asyncio.start_unix_server(serve, control)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

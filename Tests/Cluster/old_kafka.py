"""Makes a node look like an older one: a proxy in front of it that lowers the versions of its ApiVersions answers, and refuses those requests that an
old one would not understand. What clients then send and get really is of the old versions."""

import socket
import struct
import threading

# The highest versions of Apache Kafka 2.1 by API: no topic ids, no flexible versions, no last fetched epochs.
KAFKA_2_1 = {
    0: 7, 1: 10, 2: 4, 3: 7, 8: 6, 9: 5, 10: 2, 11: 3, 12: 2, 13: 2, 14: 2, 15: 2, 16: 2, 17: 1, 18: 2, 19: 3, 20: 3, 21: 1, 22: 1, 23: 2,
    24: 1, 25: 1, 26: 1, 27: 0, 28: 2, 29: 1, 30: 1, 31: 1, 32: 2, 33: 1, 34: 1, 35: 1, 36: 0, 37: 1, 38: 1, 39: 1, 40: 1, 41: 1, 42: 1,
}
# Of Apache Kafka 3.0: Metadata tells topic ids, Fetch does not take them yet.
KAFKA_3_0 = {**KAFKA_2_1, 0: 9, 1: 12, 2: 7, 3: 11, 9: 8, 10: 4, 18: 3, 23: 4, 29: 2, 32: 4, 60: 0}

UNSUPPORTED_VERSION = 35


class OldKafka:
    """Listens in place of a node. `asked` holds the highest version that was asked of each API."""

    def __init__(self, versions: dict[int, int]):
        self.versions = versions
        self.asked: dict[int, int] = {}
        self.refused: list[tuple[int, int]] = []
        self.target = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.sockets: list[socket.socket] = [self.listener]
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def port(self) -> int:
        return self.listener.getsockname()[1]

    def stand_before(self, node) -> None:
        """Takes a node's place, before it is started: it is advertised here."""
        self.target = node.ports["PLAINTEXT"]
        node.published = {**node.published, "PLAINTEXT": self.port}
        del node.settings["advertised.listeners"]
        node.configure({})

    def close(self) -> None:
        for each in self.sockets:
            each.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            node = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            return client.close()
        self.sockets += [client, node]
        # Versions of ApiVersions requests that wait for their answers, by correlation id.
        waiting: dict[int, int] = {}
        threading.Thread(target=self._answers, args=(node, client, waiting), daemon=True).start()
        try:
            while frame := receive(client):
                api, version, correlation = struct.unpack(">hhi", frame[:8])
                self.asked[api] = max(version, self.asked.get(api, 0))
                if version > self.versions.get(api, -1):
                    self.refused.append((api, version))
                    if api != 18:
                        # As Kafka does with what it does not understand.
                        break
                    send(client, struct.pack(">ihi", correlation, UNSUPPORTED_VERSION, 0))
                    continue
                if api == 18:
                    waiting[correlation] = version
                send(node, frame)
        except OSError:
            pass
        finally:
            client.close()
            node.close()

    def _answers(self, node: socket.socket, client: socket.socket, waiting: dict[int, int]) -> None:
        try:
            while frame := receive(node):
                version = waiting.pop(struct.unpack(">i", frame[:4])[0], None)
                send(client, frame if version is None else self._lowered(frame, version))
        except OSError:
            pass
        finally:
            client.close()
            node.close()

    def _lowered(self, frame: bytes, version: int) -> bytes:
        """An ApiVersions answer with the versions of old."""
        if version < 3:
            (count,) = struct.unpack(">i", frame[6:10])
            entries = [struct.unpack(">hhh", frame[10 + 6 * index:16 + 6 * index]) for index in range(count)]
            kept = self._kept(entries)
            return frame[:6] + struct.pack(">i", len(kept)) + b"".join(struct.pack(">hhh", *each) for each in kept) + frame[10 + 6 * count:]
        # Compact: a varint of the number and one, and tags behind each entry.
        count, position, shift = 0, 6, 0
        while True:
            count |= (frame[position] & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if frame[position - 1] < 0x80:
                break
        count -= 1
        entries = [struct.unpack(">hhhx", frame[position + 7 * index:position + 7 * index + 7]) for index in range(count)]
        kept = self._kept(entries)
        assert len(kept) < 127
        return (frame[:6] + bytes([len(kept) + 1]) + b"".join(struct.pack(">hhhx", *each) for each in kept)
                + frame[position + 7 * count:])

    def _kept(self, entries):
        return [(api, low, min(high, self.versions[api])) for api, low, high in entries if self.versions.get(api, -1) >= low]


def receive(connection: socket.socket) -> bytes:
    """A frame without its size; empty at the end."""
    size = _exactly(connection, 4)
    return _exactly(connection, struct.unpack(">i", size)[0]) if size else b""


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            return b""
        data += piece
    return data


def send(connection: socket.socket, frame: bytes) -> None:
    connection.sendall(struct.pack(">i", len(frame)) + frame)

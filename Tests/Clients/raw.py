"""A bare connection that speaks single requests, for what no client library would send. Messages are kafka-python's, which knows
every version of what it knows."""

import socket
import struct

from kafka.protocol.metadata import ApiVersionsRequest, ApiVersionsResponse


class Closed(Exception):
    """The broker closed the connection."""


class RawConnection:
    def __init__(self, port: int, host: str = "127.0.0.1", timeout: float = 10):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, request) -> int:
        """Sends one request and returns its correlation id."""
        self.correlation += 1
        self.send_bytes(framed(request, self.correlation))
        return self.correlation

    def receive_frame(self) -> bytes:
        [size] = struct.unpack(">i", self._exactly(4))
        assert 0 <= size < 200_000_000, f"a response of {size} bytes"
        return self._exactly(size)

    def receive(self, response_class, version: int):
        """One response; asserts that nothing is left behind what the decoder reads, by encoding it again."""
        return response_class[version].decode(self.receive_frame(), header=True)

    def ask(self, request, response_class):
        sent = self.send(request)
        response = self.receive(response_class, request.API_VERSION)
        assert response.header.correlation_id == sent
        return response

    def is_closed_within(self, seconds: float) -> bool:
        """Reads and throws away what still comes; True when the broker closes."""
        self.socket.settimeout(seconds)
        try:
            while self.socket.recv(65536):
                pass
            return True
        except TimeoutError:
            return False
        except OSError:
            return True

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = self.socket.recv(min(size, 1 << 20))
            if not part:
                raise Closed
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def framed(request, correlation: int = 1, client: str = "raw") -> bytes:
    request.with_header(correlation_id=correlation, client_id=client)
    return bytes(request.encode(header=True, framed=True))


def advertised(port: int) -> dict[int, tuple[int, int]]:
    """The api keys the broker advertises with their versions."""
    with RawConnection(port) as connection:
        response = connection.ask(ApiVersionsRequest(version=3, client_software_name="raw", client_software_version="1"), ApiVersionsResponse)
        assert response.error_code == 0
        return {entry.api_key: (entry.min_version, entry.max_version) for entry in response.api_keys}


def ask(address: str, api: int, version: int, body: bytes) -> bytes:
    """The body of the answer to a request with a flexible header."""
    host, port = address.split(",")[0].rsplit(":", 1)
    frame = struct.pack(">hhih4sb", api, version, 1, 4, b"test", 0) + body
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(struct.pack(">i", len(frame)) + frame)
        connection.settimeout(30)
        answer = b""
        while len(answer) < 4 or len(answer) < 4 + struct.unpack(">i", answer[:4])[0]:
            received = connection.recv(4096)
            assert received, "the connection was closed without an answer"
            answer += received
    # Size, correlation id, tagged fields of the header.
    return answer[9:]

"""Mutated requests: whatever arrives, the broker lives, answers its other clients and keeps its memory. Only the connection that
sent nonsense may suffer. FUZZ_SECONDS (8) and FUZZ_SEED (1) choose how long and what."""

import os
import random
import socket
import struct
import time

from kafka.protocol.metadata import ApiVersionsRequest, ApiVersionsResponse

from broker import Broker
from confluent import producer, read_all, send
from populate import Populator
from raw import RawConnection, advertised, framed
from samples import many
from topics import create

SECONDS = float(os.environ.get("FUZZ_SECONDS", "8"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
MOST_MEGABYTES = 600


def mutate(random_source: random.Random, frame: bytes) -> bytes:
    """Changes bytes, lengths and places behind the size, which is set right again most of the time."""
    body = bytearray(frame[4:])
    for _ in range(random_source.choice([1, 1, 2, 4, 16])):
        kind = random_source.randrange(7)
        at = random_source.randrange(8 if random_source.random() < 0.9 else 0, max(len(body), 9))
        if kind == 0 and at < len(body):
            body[at] = random_source.randrange(256)
        elif kind == 1 and at < len(body):
            body[at] ^= 1 << random_source.randrange(8)
        elif kind == 2:
            del body[at : at + random_source.choice([1, 2, 4, 100])]
        elif kind == 3:
            body[at:at] = random_source.randbytes(random_source.choice([1, 4, 50]))
        elif kind == 4:
            body[at : at + 4] = struct.pack(">i", random_source.choice([-1, -2, 0, 1, 2**31 - 1, -(2**31), 1 << 20]))
        elif kind == 5:
            body[at : at + 5] = b"\xff\xff\xff\xff" + bytes([random_source.choice([0x07, 0x0F, 0x7F, 0xFF])])
        else:
            body[at:] = body[at:] * 2
    size = len(body) if random_source.random() < 0.95 else random_source.choice([-1, 0, 1, len(body) + 1, 2**31 - 1, 200_000_000])
    return struct.pack(">i", size) + bytes(body)


def test_mutated_requests():
    source = random.Random(SEED)
    with Broker() as broker:
        create(broker.bootstrap, "fuzz", 2)
        create(broker.bootstrap, "untouched", 1)
        send(producer(broker.bootstrap), "untouched", many(1000), partition=0)
        versions = advertised(broker.port)
        populator = Populator(SEED, ["fuzz", "group"])
        sent = closed = 0
        last = b""
        deadline = time.monotonic() + SECONDS
        with RawConnection(broker.port, timeout=30) as bystander:
            while time.monotonic() < deadline:
                connection = socket.create_connection(("127.0.0.1", broker.port), timeout=5)
                connection.settimeout(0.02)
                try:
                    for _ in range(10):
                        api_key = source.choice(sorted(versions))
                        last = mutate(source, request_frame(populator, source, api_key, versions[api_key]))
                        connection.sendall(last)
                        sent += 1
                    if not connection.recv(1 << 16):
                        closed += 1
                except TimeoutError:
                    pass
                except OSError:
                    closed += 1
                connection.close()
                assert broker.is_running(), f"seed {SEED}: the broker died after {last.hex()}:\n{broker.log()[-3000:]}"
                if sent % 500 == 0:
                    assert bystander.ask(ApiVersionsRequest(version=0), ApiVersionsResponse).error_code == 0
            assert bystander.ask(ApiVersionsRequest(version=0), ApiVersionsResponse).error_code == 0
        resident = broker.resident_megabytes()
        print(f"\n{sent} mutated requests, {closed} connections closed by the broker, {resident:.0f} MB resident")
        assert sent > 100
        assert resident < MOST_MEGABYTES
        values = [message.value() for message in read_all(broker.bootstrap, "untouched")]
        assert values[:1000] == many(1000)
        broker.kill()
        broker.start()
        assert [message.value() for message in read_all(broker.bootstrap, "untouched")] == values
        assert broker.stop() == 0


def request_frame(populator, source, api_key, versions) -> bytes:
    from populate import REQUESTS

    low, high = versions
    if api_key in REQUESTS:
        known = REQUESTS[api_key]
        request = populator.request(api_key, source.randint(low, min(high, known.max_version)))
        if request is not None:
            return framed(request, source.getrandbits(31))
    return struct.pack(">ihhih", 10, api_key, source.randint(low, high), 1, -1)

"""Connections that do not behave, many at once: memory stays bounded, and those that behave are served.

The bounds are stated here and printed with what was measured: 5,000 idle and 200 busy connections within 250 MB of additional
resident memory, slow readers within 150 MB, half-sent requests within 150 MB.
"""

import contextlib
import os
import resource
import socket
import struct
import threading
import time

import pytest
from kafka.protocol.consumer import FetchRequest
from kafka.protocol.metadata import ApiVersionsRequest, ApiVersionsResponse

from broker import Broker, wait_until
from confluent import producer, read_all, send
from raw import RawConnection, framed
from topics import create

IDLE, BUSY = 5_000, 200
MOST_FOR_IDLE_AND_BUSY = 250
MOST_FOR_SLOW_READERS = 150
MOST_FOR_HALF_SENT = 150


@pytest.fixture(scope="module")
def own():
    """A broker apart from the others', so that its memory is this test's doing; files enough for both sides."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    with Broker() as broker:
        create(broker.bootstrap, "abuse", 1)
        send(producer(broker.bootstrap), "abuse", [bytes(10_000)] * 5_000, partition=0)
        yield broker
        assert broker.stop() == 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def prompt(broker, most: float = 2.0) -> None:
    """A client that behaves gets its answer in time."""
    started = time.monotonic()
    with RawConnection(broker.port, timeout=30) as connection:
        assert connection.ask(ApiVersionsRequest(version=0), ApiVersionsResponse).error_code == 0
    assert time.monotonic() - started < most


def let_accept(broker, number: int) -> None:
    """Kafka's default backlog is 50 connections; whoever comes faster is held up by the kernel for a second."""
    if number % 32 == 31:
        prompt(broker, 10)


def test_idle_and_busy_connections(own):
    before = own.resident_megabytes()
    with contextlib.ExitStack() as stack:
        for number in range(IDLE):
            stack.enter_context(socket.create_connection(("127.0.0.1", own.port), timeout=30))
            let_accept(own, number)
        busy = [stack.enter_context(RawConnection(own.port, timeout=60)) for _ in range(BUSY)]
        answered, deadline = [0], time.monotonic() + 5

        def work(mine):
            while time.monotonic() < deadline:
                for connection in mine:
                    connection.send(ApiVersionsRequest(version=0))
                for connection in mine:
                    connection.receive_frame()
                    answered[0] += 1

        threads = [threading.Thread(target=work, args=(busy[number::4],)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        grown = own.resident_megabytes() - before
        prompt(own)
        print(f"\n{IDLE} idle and {BUSY} busy connections: {grown:.0f} MB more, {answered[0]} requests answered in 5 s")
        assert answered[0] > BUSY
        assert grown < MOST_FOR_IDLE_AND_BUSY
    prompt(own)


def test_slow_readers(own):
    """A hundred connections that ask for 2 GB together and read nothing of it."""
    before = own.resident_megabytes()
    part = FetchRequest.FetchTopic.FetchPartition(
        partition=0, current_leader_epoch=-1, fetch_offset=0, last_fetched_epoch=-1, log_start_offset=-1, partition_max_bytes=2_000_000)
    fetch = FetchRequest(
        version=12, replica_id=-1, max_wait_ms=0, min_bytes=0, max_bytes=2_000_000, isolation_level=0, session_id=0, session_epoch=-1,
        topics=[FetchRequest.FetchTopic(topic="abuse", partitions=[part])], forgotten_topics_data=[], rack_id="")
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(RawConnection(own.port))
            connection.send_bytes(b"".join(framed(fetch, number) for number in range(10)))
        time.sleep(1)  # long enough for the broker to run into every full socket
        grown = own.resident_megabytes() - before
        prompt(own)
        assert len(read_all(own.bootstrap, "abuse")) == 5_000
        print(f"\n100 slow readers of 20 MB each: {grown:.0f} MB more")
        assert grown < MOST_FOR_SLOW_READERS


def test_half_sent_requests(own):
    """Requests that announce 10 MB and send a few bytes: room is made for what arrives, not for what is announced."""
    before = own.resident_megabytes()
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            connection = stack.enter_context(RawConnection(own.port))
            connection.send_bytes(struct.pack(">ihhi", 10_000_000, 0, 9, 1) + bytes(1000))
        prompt(own)
        grown = own.resident_megabytes() - before
        print(f"\n500 half-sent requests of 10 MB: {grown:.0f} MB more")
        assert grown < MOST_FOR_HALF_SENT
    prompt(own)


def test_connections_that_come_and_go(own):
    """Neither a reset in the middle of a request nor one in the middle of an answer leaves anything behind."""
    files = descriptors(own)
    for number in range(1000):
        connection = socket.create_connection(("127.0.0.1", own.port))
        if number % 2:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.send(struct.pack(">ihhih", 10, 18, 0, 1, -1)[: 1 + number % 14])
        connection.close()
        let_accept(own, number)
    prompt(own)
    wait_until(lambda: descriptors(own) <= files + 5, "the broker has closed its side of every connection", 30)


def descriptors(broker) -> int:
    return len(os.listdir(f"/proc/{broker.pid}/fd"))

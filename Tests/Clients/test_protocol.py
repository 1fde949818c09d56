"""The protocol itself, request by request: versions, order of answers, what happens to what is not understood."""

import struct
import time
import uuid

import pytest
from kafka.protocol.consumer import FetchRequest, FetchResponse
from kafka.protocol.metadata import ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse

import populate
from broker import wait_until
from confluent import producer, send
from raw import Closed, RawConnection, advertised

UNSUPPORTED_VERSION = 35
# Asking for these would change or end what other tests use, or wait for other members.
NOT_SENT_AT_RANDOM = {11, 14}


def test_versions_are_told_to_a_client_from_the_future(broker):
    """KIP-511: an ApiVersions version the broker does not know is answered in version 0, with the error and the versions it has."""
    with RawConnection(broker.port) as connection:
        connection.send_bytes(struct.pack(">ihhih", 10, 18, 99, 7, -1))
        response = connection.receive(ApiVersionsResponse, 0)
    assert response.header.correlation_id == 7
    assert response.error_code == UNSUPPORTED_VERSION
    assert 18 in {entry.api_key for entry in response.api_keys}


def test_only_whole_apis_are_advertised(broker):
    versions = advertised(broker.port)
    for expected in (0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23, 32, 33, 35, 37, 42, 44, 47, 60):
        assert expected in versions, f"api key {expected} is not advertised"
    assert versions[0][0] == 0, "Produce keeps advertising version 0, as KIP-896 rules for librdkafka's sake"


def test_every_advertised_version_is_answered_in_its_own_form(broker, topic):
    """Any well-formed request gets an answer that kafka-python's decoder of that very version reads to the end."""
    failures = []
    for api_key, (low, high) in sorted(advertised(broker.port).items()):
        if api_key not in populate.REQUESTS or api_key in NOT_SENT_AT_RANDOM:
            continue
        request_class, response_class = populate.REQUESTS[api_key], populate.RESPONSES[api_key]
        lowest = 3 if api_key == 0 else low
        for version in range(lowest, min(high, request_class.max_version) + 1):
            request = harmless(api_key, version, topic)
            try:
                with RawConnection(broker.port) as connection:
                    connection.send(request)
                    frame = connection.receive_frame()
                    response = response_class[version].decode(frame, header=True)
                    assert response.header.correlation_id == connection.correlation
                    # Encoding what was read gives the same bytes again, so nothing was left unread or read as something else.
                    assert frame.endswith(bytes(response_class[version].decode(frame, header=True).encode()))
            except (Closed, OSError, AssertionError, ValueError, IndexError, struct.error) as error:
                failures.append(f"{request_class.__name__} {version}: {error!r}")
    assert not failures, "\n".join(failures)


def harmless(api_key, version, topic):
    """A request about nothing that exists, so that it changes nothing."""
    request_class = populate.REQUESTS[api_key]
    if api_key == 0:
        return request_class(version=version, acks=1)
    if api_key == 1:
        return request_class(version=version, max_wait_ms=0, min_bytes=0, max_bytes=1000)
    if api_key == 3:
        asked = request_class.MetadataRequestTopic(name=topic + "-absent", topic_id=uuid.UUID(int=0))
        return request_class(version=version, topics=[asked], allow_auto_topic_creation=False)
    if api_key == 18:
        return request_class(version=version, client_software_name="raw", client_software_version="1")
    if api_key == 75:
        return request_class(version=version, topics=[request_class.TopicRequest(name=topic)], response_partition_limit=2)
    return populate.Populator(version, [topic + "-absent"]).request(api_key, version)


def test_answers_come_in_the_order_of_the_requests(broker, topic):
    """A fetch that waits holds back what was asked behind it."""
    fetch = FetchRequest(
        version=12, replica_id=-1, max_wait_ms=1500, min_bytes=1, max_bytes=1000, isolation_level=0, session_id=0, session_epoch=-1,
        topics=[FetchRequest.FetchTopic(topic=topic, partitions=[FetchRequest.FetchTopic.FetchPartition(
            partition=0, current_leader_epoch=-1, fetch_offset=0, last_fetched_epoch=-1, log_start_offset=-1,
            partition_max_bytes=1000)])],
        forgotten_topics_data=[], rack_id="")
    with RawConnection(broker.port) as connection:
        started = time.monotonic()
        first = connection.send(MetadataRequest(version=9, topics=[], allow_auto_topic_creation=False))
        second = connection.send(fetch)
        third = connection.send(MetadataRequest(version=9, topics=[], allow_auto_topic_creation=False))
        assert connection.receive(MetadataResponse, 9).header.correlation_id == first
        assert time.monotonic() - started < 1
        assert connection.receive(FetchResponse, 12).header.correlation_id == second
        assert time.monotonic() - started > 1
        assert connection.receive(MetadataResponse, 9).header.correlation_id == third


def test_pipelined_requests_are_all_answered(broker):
    with RawConnection(broker.port) as connection:
        sent = [connection.send(MetadataRequest(version=9, topics=[], allow_auto_topic_creation=False)) for _ in range(1000)]
        assert [connection.receive(MetadataResponse, 9).header.correlation_id for _ in sent] == sent


def test_a_request_in_single_bytes(broker):
    with RawConnection(broker.port) as connection:
        for byte in struct.pack(">ihhih", 10, 18, 0, 3, -1):
            connection.send_bytes(bytes([byte]))
        assert connection.receive(ApiVersionsResponse, 0).error_code == 0


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(struct.pack(">i", -1), id="negative-size"),
        pytest.param(struct.pack(">i", 2**31 - 1), id="huge-size"),
        pytest.param(struct.pack(">i", 0), id="size-zero"),
        pytest.param(struct.pack(">i", 3) + b"abc", id="too-short-for-a-header"),
        pytest.param(struct.pack(">ihhih", 10, 999, 0, 1, -1), id="unknown-api"),
        pytest.param(struct.pack(">ihhih", 10, 3, 999, 1, -1), id="unknown-version"),
        pytest.param(struct.pack(">ihhih", 10, 3, -1, 1, -1), id="negative-version"),
        pytest.param(struct.pack(">ihhihi", 14, 3, 0, 1, -1, 2**31 - 1), id="array-longer-than-the-frame"),
        pytest.param(struct.pack(">ihhih", 10, 3, 4, 1, 30_000), id="client-id-longer-than-the-frame"),
    ],
)
def test_garbage_closes_its_connection_only(broker, garbage):
    with RawConnection(broker.port) as bystander, RawConnection(broker.port) as connection:
        connection.send_bytes(garbage)
        assert connection.is_closed_within(5)
        assert bystander.ask(ApiVersionsRequest(version=0), ApiVersionsResponse).error_code == 0


@pytest.mark.parametrize(
    "greeting,word",
    [
        pytest.param(bytes.fromhex("16030100c8010000c40303") + bytes(194), "TLS", id="TLS"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n", "HTTP", id="HTTP"),
    ],
)
def test_other_protocols_are_turned_away_and_named_in_the_log(broker, greeting, word):
    with RawConnection(broker.port) as connection:
        connection.send_bytes(greeting)
        assert connection.is_closed_within(5)
    wait_until(lambda: word in broker.log(), f"the log speaks of {word}", 5)


def test_metrics_and_health(broker, topic):
    send(producer(broker.bootstrap), topic, [b"x"] * 10)
    assert broker.get("/health/live")[0] == 200
    assert broker.get("/health/ready")[0] == 200
    status, text = broker.get("/metrics")
    assert status == 200
    [total] = [line for line in text.splitlines() if line.startswith("kafka_server_brokertopicmetrics_messagesin_total ")]
    assert float(total.split()[-1]) >= 10

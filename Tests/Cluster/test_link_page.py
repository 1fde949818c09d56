"""What a cluster tells of its links over the admin port, on every broker, and what of it survives its coordinator."""

import json
import urllib.error
import urllib.request

import pytest

from commands import martlet, martlet_json
from links import destination_cluster, link, metric, wait_end, wait_mirror
from nodes import wait_until
from test_links import produce

FIGURES = ("record_count", "record_rate", "byte_count", "byte_rate") + tuple(
    f"{name}{end}" for name in ("record_age_ms", "replication_latency_ms") for end in ("", "_min", "_max", "_avg"))


@pytest.fixture(scope="module")
def destination(source):
    with destination_cluster(3) as cluster:
        yield cluster


def page(node, name: str = "") -> dict:
    status, body = node.get("/links" + (f"/{name}" if name else ""))
    assert status == 200, body
    return json.loads(body)


def steady(found: dict) -> dict:
    """Without what is another from moment to moment."""
    moving = ("caughtUpAgoMs", "answeredAgoMs", "lagMs", "recordsPerSecond", "bytesPerSecond", "lastErrorAgoMs", "lastRun", "lastSuccess")

    def stripped(value: dict) -> dict:
        # What came over a link grows with every answer, the empty ones too; what came of a partition does not.
        grows = ("bytes", "wireBytes") if "wireBytes" in value else ()
        return {key: each for key, each in value.items() if key not in moving and key not in grows}

    return json.loads(json.dumps(found), object_hook=stripped)


def test_every_broker_shows_the_same_links(source, destination):
    assert page(destination.node(1)) == {"links": [], "unanswered": [], "problem": ""}
    source.create("seen", 2)
    link(destination, source, "dr", topic_config_sync_ms=500, quota_sync_enable="true", quota_sync_ms=1000, availability_check_ms=500)
    martlet(source, "quota", "set", "--user", "alice", "consumer_byte_rate=1000000")
    martlet(destination, "link", "mirror", "dr", "seen")
    produce(source, "seen", range(400))
    wait_mirror(destination, "seen")
    wait_end(destination, "seen", 400)
    wait_until(lambda: page(destination.node(1), "dr")["synchronizations"][0]["own"] == 1, "the quota is here", 30, 0.1)
    # Partitions of a new mirror are waited for until the coordinator has heard of each.
    wait_until(lambda: page(destination.node(1), "dr")["link"]["transactions"]["lagging"] == 0, "nothing is waited for", 30, 0.1)

    pages = [page(node, "dr") for node in destination.brokers]
    described = martlet_json(destination, "link", "describe", "dr")
    for found in pages:
        assert found.pop("unanswered") == [] and found.pop("problem") == ""
        assert steady(found) == steady(described)
    [mirror] = pages[0]["mirrors"]
    assert (mirror["topic"], mirror["state"], mirror["lag"], mirror["reason"]) == ("seen", "ACTIVE", 0, "")
    assert [each["partition"] for each in mirror["partitions"]] == [0, 1]
    full = mirror["partitions"][0]
    assert (full["state"], full["lag"], full["lagBytes"], full["records"], full["logEndOffset"]) == ("ACTIVE", 0, 0, 400, 400)
    assert full["bytes"] > 400 and full["lagMs"] is not None and full["latencyMs"] >= 0 and full["lastError"] == ""
    assert full["leader"] == destination.leader("seen", 0).number
    [synchronized] = pages[0]["synchronizations"]
    assert (synchronized["kind"], synchronized["error"], synchronized["created"]) == ("quotas", "", 1)
    assert synchronized["lastRun"] >= synchronized["lastSuccess"] > 0

    for node in destination.brokers:
        [summary] = page(node)["links"]
        assert (summary["name"], summary["state"], summary["mirrors"], summary["lag"]) == ("dr", "ACTIVE", 1, 0)
        assert summary["mirrorsByState"] == {"ACTIVE": 1} and summary["failingSynchronizations"] == []
    assert destination.node(1).get("/links/none")[0] == 404
    request = urllib.request.Request(f"http://127.0.0.1:{destination.node(1).admin_port}/links", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 405
    for figure in FIGURES:
        name = f"kafka_connect_mirror_mirrorsourceconnector_{figure}"
        text = "".join(node.get("/metrics")[1] for node in destination.brokers)
        assert f'{name}{{link="dr",topic="seen",partition="0"}}' in text, figure
    assert metric(destination, "kafka_connect_mirror_mirrorsourceconnector_record_count", "seen") == 400

    martlet(destination, "link", "pause", "dr")
    wait_until(lambda: page(destination.node(2), "dr")["mirrors"][0]["state"] == "LINK_PAUSED", "it is shown to be paused", 10, 0.1)
    assert page(destination.node(2))["links"][0]["state"] == "LINK_PAUSED"
    martlet(destination, "link", "resume", "dr")
    wait_mirror(destination, "seen")


def test_what_was_synchronised_survives_the_coordinator_and_other_settings(source, destination):
    before = page(destination.node(1), "dr")["synchronizations"][0]
    assert before["lastSuccess"] and before["created"] == 1
    source.node(1).kill()
    wait_until(lambda: page(destination.node(1), "dr")["synchronizations"][0]["error"], "the source is missed", 60, 0.2)
    wait_until(lambda: page(destination.node(1), "dr")["mirrors"][0]["partitions"][0]["lastError"], "fetchers miss it too", 60, 0.2)
    coordinator = destination.leader("__cluster_links", 0)
    coordinator.kill()
    other = next(node for node in destination.brokers if node is not coordinator)

    def told() -> dict:
        found = page(other, "dr")
        return not found["problem"] and found["synchronizations"] and found["synchronizations"][0]

    after = wait_until(told, "another broker coordinates links and tells of them", 60, 0.1)
    assert after["created"] == 1 and after["own"] == 1
    assert after["lastSuccess"] and after["lastSuccess"] > before["lastSuccess"] - 61_000, "not 'never'"
    wait_until(lambda: told() and told()["error"], "and it says that the source is missing", 60, 0.2)
    assert set(page(other, "dr")["unanswered"]) <= {coordinator.number}
    # Another setting has the work begun anew, and nothing forgotten.
    martlet(destination, "link", "config", "dr", "quota.sync.ms=2000")
    wait_until(lambda: martlet_json(destination, "link", "describe", "dr")["link"]["configuration"]["quota.sync.ms"] == "2000", "set", 10, 0.1)
    assert martlet_json(destination, "link", "describe", "dr")["synchronizations"][0]["created"] == 1
    coordinator.start().wait_ready()
    source.node(1).start().wait_ready()
    wait_until(lambda: told() and not told()["error"], "the source is back", 60, 0.2)

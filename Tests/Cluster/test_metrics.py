"""What the nodes of a cluster say about replication and their controllers, under the names that dashboards for Kafka ask for."""

import re

from clusters import Cluster
from nodes import Node, wait_until
from test_replication import produce


def scrape(node: Node) -> dict[str, float]:
    """Samples by name, those of a family with labels added up."""
    status, text = node.get("/metrics")
    assert status == 200
    found: dict[str, float] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"([a-z_0-9]+)(\{.*\})? (\S+)", line)
        if match:
            found[match[1]] = found.get(match[1], 0) + float(match[3])
            if match[2] and "current_state" in match[1]:
                found[match[2]] = 1
    return found


MANAGER = "kafka_server_replicamanager_"
CONTROLLER = "kafka_controller_kafkacontroller_"
RAFT = "kafka_server_raftmetrics_"
CHANNEL = "kafka_server_raftchannelmetrics_"


def test_replication_and_controllers_are_seen():
    with Cluster(3, proxied=False) as cluster:
        cluster.create("seen", 6)
        produce(cluster, "seen", [f"{number}" * 100 for number in range(1000)])
        leader = cluster.leader("seen", 0)

        def settled():
            samples = [scrape(node) for node in cluster.nodes]
            return samples if all(each["kafka_server_replicafetchermanager_maxlag"] == 0 for each in samples) else None

        samples = wait_until(settled, "the followers have everything")
        assert sum(each[CONTROLLER + "activecontrollercount"] for each in samples) == 1
        active = cluster.controller()
        assert scrape(active)[CONTROLLER + "activecontrollercount"] == 1
        for each in samples:
            assert each[CONTROLLER + "globaltopiccount"] == 1 and each[CONTROLLER + "globalpartitioncount"] == 6
            assert each[CONTROLLER + "activebrokercount"] == 3 and each[CONTROLLER + "fencedbrokercount"] == 0
            assert each[CONTROLLER + "metadataerrorcount"] == each[CONTROLLER + "offlinepartitionscount"] == 0
            assert each[MANAGER + "partitioncount"] == 6 and each[MANAGER + "offlinereplicacount"] == 0
            assert each[MANAGER + "underreplicatedpartitions"] == each[MANAGER + "underminisrpartitioncount"] == 0
            assert each[RAFT + "current_leader"] == active.number and each[RAFT + "current_epoch"] >= 1
            assert each[RAFT + "number_of_voters"] == 3
            assert each[RAFT + "log_end_offset"] >= each[RAFT + "high_watermark"] > 0
            assert each[RAFT + "log_end_epoch"] == each[RAFT + "current_epoch"]
            assert 0.5 < each[RAFT + "poll_idle_ratio_avg"] <= 1
            assert each[RAFT + "number_unknown_voter_connections"] == 0
            channel = {kind: each[CHANNEL + kind] for kind in ("request_total", "response_total", "outgoing_byte_total", "incoming_byte_total")}
            assert channel["request_total"] >= channel["response_total"] > 0, channel
            assert channel["outgoing_byte_total"] > channel["request_total"] and channel["incoming_byte_total"] > channel["response_total"]
            # Only the leader knows.
            isLeader = '{current_state="leader"}' in each
            assert each.get(RAFT + "number_of_observers") == each.get(RAFT + "uncommitted_voter_change") == (0 if isLeader else None)
            if isLeader:
                assert each[RAFT + "current_vote"] == active.number
                assert each[RAFT + "append_records_rate"] > 0
                assert 0 < each[RAFT + "commit_latency_avg"] <= each[RAFT + "commit_latency_max"] < 10_000
            else:
                assert each[RAFT + "fetch_records_rate"] > 0
        assert any(0 < each[RAFT + "election_latency_avg"] <= each[RAFT + "election_latency_max"] for each in samples)
        assert sum(each[MANAGER + "leadercount"] for each in samples) == 6
        assert sum('{current_state="leader"}' in each for each in samples) == 1
        assert sum('{current_state="follower"}' in each for each in samples) == 2
        sent = scrape(leader)["kafka_server_brokertopicmetrics_replicationbytesout_total"]
        taken = [scrape(node)["kafka_server_brokertopicmetrics_replicationbytesin_total"] for node in cluster.nodes if node is not leader]
        assert sent > 100_000 and all(each > 50_000 for each in taken), (sent, taken)

        gone = next(node for node in cluster.nodes if node is not leader and node is not active)
        before = sum(scrape(node)[MANAGER + "isrexpands_total"] for node in cluster.nodes if node is not gone)
        gone.kill()
        rest = [node for node in cluster.nodes if node is not gone]
        wait_until(lambda: scrape(active)[CONTROLLER + "fencedbrokercount"] == 1, "the broker is fenced")
        wait_until(lambda: sum(scrape(node)[MANAGER + "underreplicatedpartitions"] for node in rest) == 6, "all lack a replica")
        assert sum(scrape(node)[MANAGER + "atminisrpartitioncount"] for node in rest) == 6
        gone.start().wait_ready()
        cluster.wait_whole()
        wait_until(lambda: sum(scrape(node)[MANAGER + "underreplicatedpartitions"] for node in rest) == 0, "nothing lacks a replica")
        assert sum(scrape(node)[MANAGER + "isrexpands_total"] for node in rest) >= before + 6
        wait_until(lambda: scrape(active)[CONTROLLER + "fencedbrokercount"] == 0, "it is back")

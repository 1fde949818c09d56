"""docs/migrate-from-kafka.md as a script: every command that its two ways name is run as it stands there, while clients go on."""

import json
import os
import re
import shutil
import subprocess

import pytest

from broker import binary, wait_until
from checker import check
from contents import Contents, commit, fill
from kafka_nodes import KAFKA, MARTLET, MixedNode, kafka_program
from load import Reader, Writer, read_everything
from mixed_clusters import MixedCluster
from nodes import CLUSTER_ID
from operations import Recorder
from operators_page import Section

TOPIC, PARTITIONS = "orders", 4


class Operator:
    """Runs a command of the page, in a node's directory."""

    def __init__(self, cluster, section: Section):
        self.cluster, self.section = cluster, section

    def run(self, command: str, node: MixedNode | None = None, status: int = 0, seconds: float = 120, **places) -> str:
        words = self.section.take(command, **places)
        program = str(binary()) if words[0] == "martlet" else kafka_program(words[0], words[0].removesuffix(".sh"))
        done = subprocess.run(
            [program, *words[1:]], capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL,
            cwd=node.directory if node else self.cluster.directory,
            env={**os.environ, "MARTLET_BOOTSTRAP_SERVER": self.cluster.bootstrap})
        assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def serve(self, command: str, node: MixedNode, **places) -> None:
        words = self.section.take(command, **places)
        node.program = MARTLET
        with open(node.directory / "node.log", "ab") as log:
            node.process = subprocess.Popen(
                [str(binary()), *words[1:]], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=node.directory)
        node.wait_ready()


class Clients:
    """Write and read all the time; what they were told is checked in the end."""

    def __init__(self, bootstrap: str):
        self.recorder = Recorder()
        self.writer = Writer("w", bootstrap, TOPIC, PARTITIONS, self.recorder, rate=60)
        self.reader = Reader("g", bootstrap, TOPIC, PARTITIONS, self.recorder, group="group")
        for worker in (self.writer, self.reader):
            worker.start()

    def go_on(self) -> None:
        before = self.writer.acknowledged, self.reader.polled
        wait_until(lambda: self.writer.acknowledged > before[0] + 30, "the writer goes on", 60)
        wait_until(lambda: self.reader.polled > before[1] + 30, "the group goes on", 60)

    def finish(self, bootstrap: str) -> None:
        self.writer.finish(180)
        assert not self.writer.fatal
        assert read_everything(bootstrap, TOPIC, PARTITIONS, self.recorder) == self.writer.acknowledged
        self.reader.finish()
        verdict = check(self.recorder.operations)
        assert verdict.is_valid, str(verdict)


def table(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if re.match(r"\s*\d", line)]


def test_the_same_node_with_the_other_program():
    way, before = Section("Way 1: the same node, the other program"), Section("What has to be so")
    with MixedCluster(KAFKA, KAFKA, KAFKA) as cluster:
        cluster.create(TOPIC, PARTITIONS)
        cluster.create("customers", 1, **{"cleanup.policy": "compact"})
        clients = Clients(cluster.bootstrap)
        operator, check_first = Operator(cluster, way), Operator(cluster, before)
        clients.go_on()
        first = cluster.node(1)
        found = check_first.run("martlet doctor -b 127.0.0.1:9092", **{"127.0.0.1:9092": first.address})
        assert "0 errors" in found, found
        for node in cluster.nodes:
            check_first.run("martlet doctor --config /etc/kafka/server.properties", **{"etc/kafka/server.properties": str(node.properties)[1:]})
        assert "All is well: 3 brokers" in check_first.run("martlet cluster health")
        assert not before.left

        leader = int(re.search(r"Leader (\d+)", operator.run("martlet quorum status"))[1])
        for node in sorted(cluster.nodes, key=lambda node: node.number == leader):
            assert node.stop() == 0
            assert (node.data / ".kafka_cleanshutdown").exists()
            operator.serve("martlet server /etc/kafka/server.properties", node, **{"etc/kafka/server.properties": str(node.properties)[1:]})
            assert "All is well: 3 brokers" in operator.run("martlet cluster health --until-healthy")
            clients.go_on()
        assert [row[2] for row in table(operator.run("martlet broker list"))] == ["a", "b", "c"]
        operator.run("martlet partition elect --all")
        rows = table(operator.run("martlet broker list"))
        assert all(row[3] == "alive" and int(row[4]) > 0 and row[6] == "0" for row in rows), rows
        # The one that is named as what not to do.
        assert way.left == ["martlet cluster features --set"]
        clients.go_on()
        clients.finish(cluster.bootstrap)


class Neighbours(MixedCluster):
    """Three nodes of Apache Kafka, and nodes of Martlet that are not there yet."""

    def __init__(self, *roles: str):
        self.brokers_now: list[MixedNode] = []
        self.old_count = len(roles)
        super().__init__(
            *[KAFKA] * len(roles), *[MARTLET] * 6, roles=[*roles, *["broker"] * 3, *["controller"] * 3], dynamic=True,
            settings={"min.insync.replicas": "2"})
        self.old, self.new, self.new_controllers = self.nodes[:len(roles)], self.nodes[len(roles):-3], self.nodes[-3:]
        self.old_brokers = [node for node in self.old if node.is_broker]
        self.old_controllers = [node for node in self.old if node.is_controller]
        self.brokers_now = list(self.old_brokers)
        self.know([node.controller_address for node in self.old_controllers])

    def know(self, controllers: list[str]) -> None:
        """Every configuration names these."""
        self.shared["controller.quorum.bootstrap.servers"] = ",".join(controllers)
        for node in self.nodes:
            node.settings = {}
            node.configure(self.shared)
        for node in self.new_controllers:
            shutil.copyfile(node.properties, node.directory / "controller.properties")

    @property
    def brokers(self) -> list[MixedNode]:
        return self.brokers_now

    @property
    def controllers(self) -> list[MixedNode]:
        return [node for node in self.nodes[:self.old_count] if node.is_controller]

    def start(self, seconds: float = 120) -> "Neighbours":
        for node in self.old:
            node.format(*(["--initial-controllers", self.initial_controllers()] if node.is_controller else []))
            node.start()
        for node in self.old:
            node.wait_ready(seconds)
        self.wait_whole(seconds)
        return self


@pytest.mark.parametrize(
    "roles", [["broker,controller"] * 3, ["controller"] * 3 + ["broker"] * 3], ids=["combined", "isolated"])
def test_new_nodes_beside_the_old_ones(roles):
    way = Section("Way 2: new nodes beside the old ones")
    with Neighbours(*roles) as cluster:
        operator = Operator(cluster, way)
        run = operator.run
        cluster.create(TOPIC, PARTITIONS)
        cluster.create("unimportant", 3)
        fill(cluster, "unimportant", "some", 20)
        commit(cluster, "committed", "unimportant", {0: 5, 2: 7}, "by Kafka")
        clients = Clients(cluster.bootstrap)
        clients.go_on()
        before = Contents(cluster, ["unimportant"], ["committed"])
        olds = [node.number for node in cluster.old_brokers]
        news = [node.number for node in cluster.new]
        new = cluster.new[0]

        def replicas(topic: str | None = None) -> set[int]:
            listed = json.loads(cluster.martlet("partition", "list", *([topic] if topic else []), "--json"))
            return {replica for each in listed for replica in each["replicas"]}

        def join(node):
            operator.serve("martlet server server.properties", node)
            cluster.brokers_now.append(node)
            wait_until(lambda: [str(node.number), "alive"] in [[row[0], row[-4]] for row in table(run("martlet broker list"))],
                       f"{node} is alive", 30, pause=0.3)

        def wait_lying(expected: set[int], topic: str | None = None):
            # The broker that is asked may learn of the end of a move a little later.
            wait_until(lambda: replicas(topic) == expected, f"replicas lie on {expected}", 30, pause=0.3)

        def leave(node):
            assert node.stop() == 0, node.log()[-2000:]
            if node.is_broker:
                cluster.brokers_now.remove(node)
            if node.is_controller:
                yield_to_the_others(cluster, operator, node)
            if node.is_broker:
                run("martlet broker unregister OLD1", OLD1=node.number)

        # 1 and 2.
        assert CLUSTER_ID in run("martlet cluster describe")
        run("martlet format -t CLUSTER-ID -c server.properties", new, **{"CLUSTER-ID": CLUSTER_ID})
        join(new)
        assert new.number not in replicas()
        # 3.
        run("martlet partition reassign TOPIC --brokers OLD1,OLD2,NEW1", TOPIC="unimportant", OLD1=olds[0], OLD2=olds[1], NEW1=news[0])
        assert "All is well" in run("martlet cluster health --until-healthy")
        wait_lying({*olds[:2], news[0]}, "unimportant")
        clients.go_on()
        assert not before.differences(Contents(cluster, ["unimportant"], ["committed"]))
        # 4, and once more.
        run("martlet partition reassign --drain NEW1", NEW1=news[0])
        wait_until(lambda: news[0] not in replicas(), "every broker knows that it is empty", 30, pause=0.3)
        assert new.stop() == 0
        cluster.brokers_now.remove(new)
        run("martlet broker unregister NEW1", NEW1=news[0])
        assert str(news[0]) not in [row[0] for row in table(run("martlet broker list"))]
        join(new)
        # 5.
        for node in cluster.new[1:]:
            run("martlet format -t CLUSTER-ID -c server.properties", node, **{"CLUSTER-ID": CLUSTER_ID})
            join(node)
        run("martlet partition reassign --brokers NEW1,NEW2,NEW3 --throttle 50000000", seconds=300, NEW1=news[0], NEW2=news[1], NEW3=news[2])
        drain = "martlet partition reassign --drain OLD1,OLD2,OLD3"
        drained = dict(OLD1=olds[0], OLD2=olds[1], OLD3=olds[2])
        cluster.create("meanwhile", 6)
        run(drain, **drained)
        assert "Everything lies there already" in run(drain, **drained)
        wait_lying(set(news))
        run("martlet cluster health --until-healthy")
        clients.go_on()
        # 6.
        for node in cluster.old_brokers:
            if not node.is_controller:
                leave(node)
        # 7.
        move_controllers(cluster, operator, leave)
        clients.go_on()
        # 8.
        assert [int(row[0]) for row in table(run("martlet broker list"))] == news
        cluster.know([node.controller_address for node in cluster.new_controllers])
        for node in [*cluster.new, *cluster.new_controllers]:
            assert node.stop() == 0, node.log()[-2000:]
            node.start().wait_ready()
            cluster.wait_whole()
        assert "All is well: 3 brokers" in run("martlet cluster health --until-healthy")
        clients.go_on()
        assert not before.differences(Contents(cluster, ["unimportant"], ["committed"]))
        assert not way.left, way.left
        clients.finish(cluster.bootstrap)


def voters(cluster) -> list[int]:
    return sorted(voter["nodeId"] for voter in json.loads(cluster.martlet("quorum", "status", "--json"))["voters"])


def yield_to_the_others(cluster, operator, node) -> None:
    """A controller that has stopped votes no more; the second one is removed with Kafka's tool."""
    if node.number == 2:
        directory = next(row[-1] for row in table(operator.run("martlet quorum status")) if int(row[0]) == node.number)
        operator.run(
            "kafka-metadata-quorum.sh --bootstrap-server HOST:9092 remove-controller --controller-id OLD2 --controller-directory-id DIRECTORY",
            **{"OLD2": node.number, "DIRECTORY": directory, "HOST:9092": cluster.new[0].address})
    else:
        operator.run("martlet quorum remove OLD1", OLD1=node.number)
    wait_until(lambda: node.number not in voters(cluster), f"{node} does not vote", 30, pause=0.3)


def move_controllers(cluster, operator, leave) -> None:
    """Step 7: one is added and one removed, the active one last, with either program's tools."""
    run = operator.run

    def has_no_lag() -> bool:
        rows = [row for row in table(run("martlet quorum status")) if row[1] in ("leader", "voter")]
        # The log grows while one looks, so a voter may be a record behind.
        return all(int(row[3]) <= 1 for row in rows)

    for round, new in enumerate(cluster.new_controllers):
        run("martlet format -t CLUSTER-ID -c controller.properties --no-initial-controllers", new, **{"CLUSTER-ID": CLUSTER_ID})
        new.start().wait_ready()
        wait_until(lambda: new.number in [int(row[0]) for row in table(run("martlet quorum status"))], f"{new} follows", 30, pause=0.3)
        if round == 1:
            run("kafka-metadata-quorum.sh --bootstrap-server HOST:9092 --command-config controller.properties add-controller", new,
                **{"HOST:9092": cluster.new[0].address})
        else:
            run("martlet quorum add --config controller.properties", new)
        assert new.number in voters(cluster)
        wait_until(has_no_lag, "no voter lags", 60, pause=0.3)
        left = [node for node in cluster.old_controllers if node.is_running]
        active = cluster.controller()
        leave(next((node for node in left if node is not active), left[0]))
        wait_until(has_no_lag, "no voter lags", 60, pause=0.3)
    assert voters(cluster) == [node.number for node in cluster.new_controllers]



"""Does one bad thing after the other to a cluster, chosen by a seed, and puts each right again."""

import random
import time
from collections.abc import Callable

from clusters import Cluster
from nodes import Clock, Node, SmallDisk
from operations import Recorder


class Nemesis:
    """Each fault is a function that does it and returns the one that undoes it."""

    def __init__(self, cluster: Cluster, recorder: Recorder, topic: str, seed: int, say=print):
        self.cluster, self.recorder, self.topic, self.say = cluster, recorder, topic, say
        self.random = random.Random(seed)
        self.durations = [0.5, 2, 5, 12]
        self.disks: dict[Node, SmallDisk] = {}
        self.clocks: dict[Node, Clock] = {}
        self.faults: dict[str, Callable[[], tuple[str, Callable[[], None]]]] = {
            "kill": lambda: self.kill([self.some_node()]),
            "kill-leader": lambda: self.kill([cluster.leader(topic, 0)]),
            "kill-controller": lambda: self.kill([cluster.controller()]),
            "kill-all": lambda: self.kill(cluster.nodes),
            "restart": self.restart,
            "pause": self.pause,
            "partition": lambda: self.partition(True, True),
            "partition-in": lambda: self.partition(True, False),
            "partition-out": lambda: self.partition(False, True),
            "partition-nodes-only": self.partition_nodes_only,
            "drop-connections": self.drop_connections,
            "slow-network": self.slow_network,
        }
        if len(cluster.nodes) == 1:
            for name in ("kill-leader", "kill-controller", "kill-all", "partition-nodes-only", "drop-connections"):
                del self.faults[name]

    def prepare_disks(self, megabytes: int) -> None:
        """Before the nodes are formatted."""
        if SmallDisk.is_possible(self.cluster.directory):
            for node in self.cluster.brokers:
                self.disks[node] = SmallDisk(node, megabytes)
                self.cluster.clean_up.append(self.disks[node].unmount)
            self.faults["disk-full"] = self.disk_full

    def prepare_clocks(self) -> None:
        """Before the nodes are started."""
        if Clock.is_possible():
            self.clocks = {node: Clock(node) for node in self.cluster.nodes}
            self.faults["clock-jump"] = self.clock_jump

    def some_node(self) -> Node:
        return self.random.choice(self.cluster.nodes)

    def strike(self, name: str, seconds: float) -> None:
        """One fault that lasts this long."""
        fault = self.recorder.fault(name, "")
        fault["target"], undo = self.faults[name]()
        self.say(f"    {name} {fault['target']} for {seconds:.1f} s")
        time.sleep(seconds)
        undo()
        fault["end"] = time.monotonic()

    def rage(self, seconds: float, names: list[str], recovered: Callable[[], None], quiet: tuple[float, float] = (1, 3)) -> None:
        """Goes through all faults in a random order, again and again. `recovered` waits until clients can write again."""
        deadline = time.monotonic() + seconds
        waiting: list[str] = []
        while time.monotonic() < deadline:
            if not waiting:
                waiting = self.random.sample(names, len(names))
            self.strike(waiting.pop(), self.random.choice(self.durations) * self.random.uniform(0.7, 1.3))
            recovered()
            time.sleep(self.random.uniform(*quiet))

    # Faults.

    def kill(self, nodes: list[Node]):
        for node in nodes:
            node.kill()

        def undo():
            for node in nodes:
                node.start()

        return " ".join(map(str, nodes)), undo

    def restart(self):
        node = self.some_node()
        node.stop()
        return str(node), lambda: node.start()

    def pause(self):
        node = self.some_node()
        node.pause()
        return str(node), node.resume

    def partition(self, to_it: bool, from_it: bool):
        node = self.some_node()
        self.cluster.isolate(node, to_it=to_it, from_it=from_it)
        return str(node), self.cluster.network.heal

    def partition_nodes_only(self):
        """Clients still reach the node that the others do not."""
        node = self.some_node()
        self.cluster.isolate(node, clients_too=False)
        return str(node), self.cluster.network.heal

    def drop_connections(self):
        one, other = self.random.sample(self.cluster.nodes, 2)
        self.cluster.network.drop_connections(one.name, other.name)
        return f"{one} {other}", lambda: None

    def slow_network(self):
        delay, bandwidth = self.random.choice([(0.05, 0), (0.3, 0), (0.01, 500_000)])
        for one in self.cluster.nodes:
            for other in self.cluster.nodes:
                if one is not other:
                    self.cluster.network.shape(one.name, other.name, delay, bandwidth)
        return f"{delay * 1000:.0f} ms, {bandwidth or 'unlimited'} bytes a second", self.cluster.network.heal

    def disk_full(self):
        node = self.random.choice(list(self.disks))
        self.disks[node].fill()

        def undo():
            self.disks[node].drain()
            # A broker takes a log directory that failed into use again when it starts, not before.
            if node.is_running:
                node.kill()
            node.start()

        return str(node), undo

    def clock_jump(self):
        node = self.random.choice(list(self.clocks))
        seconds = self.random.choice([-3600, -30, -1, 1, 30, 3600])
        self.clocks[node].shift(seconds)
        return f"{node} {seconds:+} s", lambda: self.clocks[node].shift(0)

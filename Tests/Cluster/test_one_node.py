"""The kit itself, against the smallest cluster there is: each fault does what it says, and the checker agrees with the broker."""

import time

import pytest

from clusters import Cluster
from load import Reader, Writer, read_everything
from nemesis import Nemesis
from nodes import wait_until
from operations import Recorder
from checker import check
from unavailability import per_fault


@pytest.fixture(scope="module")
def loaded():
    """One node under load: its nemesis, and a way to wait for the writer."""
    recorder = Recorder()
    cluster = Cluster(1)
    nemesis = Nemesis(cluster, recorder, "log", seed=1, say=lambda _: None)
    nemesis.prepare_disks(600)
    nemesis.prepare_clocks()
    with cluster:
        cluster.create("log", 2)
        writer = Writer("w", cluster.bootstrap, "log", 2, recorder, rate=200)
        reader = Reader("r", cluster.bootstrap, "log", 2, recorder)
        writer.start()
        reader.start()

        def go_on():
            before = writer.acknowledged
            wait_until(lambda: writer.acknowledged > before + 20, "the writer is acknowledged", 60)

        go_on()
        yield nemesis, go_on
        writer.finish()
        assert read_everything(cluster.bootstrap, "log", 2, recorder) >= writer.acknowledged
        reader.finish()
        verdict = check(recorder.operations)
        assert verdict.is_valid, str(verdict)


@pytest.mark.parametrize("fault", ["kill", "restart", "pause", "partition", "partition-in", "partition-out", "disk-full", "clock-jump"])
def test_a_fault_passes(loaded, fault):
    nemesis, go_on = loaded
    if fault not in nemesis.faults:
        pytest.skip(f"{fault} cannot be done here: mounting needs root, moving clocks a C compiler")
    nemesis.strike(fault, 0.7)
    go_on()
    [result] = per_fault(nemesis.recorder.operations, nemesis.recorder.faults[-1:])
    # A single node that cannot be reached or does not run acknowledges nothing for as long as the fault lasts.
    if fault not in ("clock-jump", "disk-full"):
        assert result["worst"] >= 0.6, result


def test_the_clock_of_a_node_moves(loaded):
    nemesis, go_on = loaded
    if not nemesis.clocks:
        pytest.skip("moving clocks needs a C compiler")
    [(node, clock)] = nemesis.clocks.items()
    clock.shift(86_400)
    try:
        tomorrow = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86_400))
        node.stop()
        node.start().wait_ready()
        assert f"{tomorrow}T" in node.log()
    finally:
        clock.shift(0)
    go_on()


def test_a_node_that_waits_for_a_quorum_can_be_stopped():
    cluster = Cluster(3, proxied=False)
    try:
        [node, *_] = cluster.nodes
        node.format()
        node.start()
        wait_until(lambda: "following the metadata quorum" in node.log(), "the node looks for the others", 30)
        assert node.stop(30) in (0, 143)
    finally:
        cluster.close()

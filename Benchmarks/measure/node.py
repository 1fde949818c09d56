"""What a node costs when nothing happens, with 10,000 partitions, and how fast it is back after kill -9."""

import statistics
import subprocess
import time
from pathlib import Path

from . import load
from .compaction import compaction
from .process import cpu_seconds, resident_megabytes
from .report import Result
from .security import authorization, tls
from .servers import Martlet


def start_ready(scratch: Path, rounds: int = 9) -> list[Result]:
    times = []
    for _ in range(rounds):
        server = Martlet(scratch)
        try:
            times.append(server.start() * 1000)
        finally:
            server.__exit__()
    return [Result("start-ready", statistics.median(times), "ms", 150, times, "empty directory to /health/ready")]


def idle(scratch: Path, seconds: float = 20) -> list[Result]:
    with Martlet(scratch) as server:
        time.sleep(3)
        before, started = cpu_seconds(server.pid), time.perf_counter()
        time.sleep(seconds)
        share = (cpu_seconds(server.pid) - before) / (time.perf_counter() - started) * 100
        resident = resident_megabytes(server.pid)
    return [
        Result("idle-rss", resident, "MB", 40, in_words="resident memory of an empty node"),
        Result("idle-cpu", share, "% of a core", 0.3, in_words=f"over {seconds:.0f} s without any client"),
    ]


def many_partitions(scratch: Path, topics: int = 10, partitions: int = 1000) -> list[Result]:
    with Martlet(scratch) as server:
        for number in range(topics):
            server.create(f"topic-{number}", partitions)
        # Every partition gets a record, so that none is an empty directory only.
        for number in range(topics):
            load.run(
                server, "produce", topic=f"topic-{number}", partitions=partitions, connections=partitions, depth=1, records=1,
                value_bytes=100, requests=partitions)
        stopping = server.stop()
        ready = server.start()
        time.sleep(3)
        resident = resident_megabytes(server.pid)
    return [
        Result("partitions-10000-ready", ready, "s", 3, in_words=f"restart after a clean stop (which took {stopping:.2f} s)"),
        Result("partitions-10000-rss", resident, "MB", 400, in_words="resident memory after that restart"),
    ]


def crash_restart(scratch: Path, rounds: int = 3) -> list[Result]:
    times = []
    for _ in range(rounds):
        with Martlet(scratch) as server:
            server.create("bench", 4)
            load.run(server, "produce", topic="bench", partitions=4, bytes=1_000_000_000)
            more = load.command(server, "produce", topic="bench", partitions=4, bytes=100_000_000_000)
            busy = subprocess.Popen(more, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.2)
            server.kill()
            busy.wait()
            times.append(server.start())
    return [Result("crash-restart-ready", statistics.median(times), "s", 1, times, "kill -9 under load, 1 GB since the last checkpoint")]


PARTS = {
    "start-ready": start_ready,
    "idle": idle,
    "partitions-10000": many_partitions,
    "crash-restart": crash_restart,
    "compaction": compaction,
    "tls": tls,
    "authorization": authorization,
}

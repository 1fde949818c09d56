"""How fast a compacted log is cleaned and what memory that takes, against `cp` of the same bytes on the same disk."""

import os
import random
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

from .process import cpu_seconds, resident_megabytes
from .report import Result
from .servers import Martlet

SEGMENT = 100 << 20


class Memory(threading.Thread):
    """Resident memory of a process while something happens to it."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.pid, self.before, self.peak, self.done = pid, resident_megabytes(pid), 0.0, threading.Event()
        self.start()

    def run(self):
        while not self.done.wait(0.02):
            self.peak = max(self.peak, resident_megabytes(self.pid))

    def finish(self) -> float:
        """Megabytes beyond what it had before."""
        self.done.set()
        self.join()
        return self.peak - self.before


def tool(server: Martlet, *arguments: str, **options) -> None:
    environment = {**os.environ, "MARTLET_BOOTSTRAP_SERVER": f"127.0.0.1:{server.port}"}
    subprocess.run([server.command()[0], *arguments], check=True, stdout=subprocess.DEVNULL, env=environment, **options)


def write_lines(path: Path, records: int, keys: int, size: int) -> None:
    # Half of a value is the same everywhere and half is noise, so that compression halves it.
    source = random.Random(1)
    values = [(source.randbytes(size // 4 + 1).hex()[: size // 2] + "abcdefghij" * (size // 10))[:size] for _ in range(997)]
    with open(path, "w") as file:
        for number in range(records):
            file.write(f"{number * 7919 % keys:016}:{number:010}{values[number % 997]}\n")


def cleaned(server: Martlet, topic: str) -> dict[str, str] | None:
    """What the broker's log says of the cleaning."""
    for line in (server.directory / "server.log").read_text(errors="replace").splitlines():
        if "log cleaned" in line and f"partition={topic}-0" in line:
            return dict(re.findall(r'([\w/]+)=("[^"]*"|\S+)', line))
    return None


def copy_rate(directory: Path, scratch: Path, sync: bool) -> float:
    """MB/s of `cp` over the closed segments, which are in the page cache."""
    files = sorted(directory.glob("*.log"))[:-1]
    target = scratch / "copy"
    target.mkdir()
    started = time.perf_counter()
    subprocess.run(["cp", *map(str, files), str(target)], check=True)
    if sync:
        subprocess.run(["sync", *map(str, target.iterdir())], check=True)
    seconds = time.perf_counter() - started
    size = sum(file.stat().st_size for file in target.iterdir())
    shutil.rmtree(target)
    return size / seconds / 1e6


def clean_once(scratch: Path, name: str, records: int, keys: int, size: int, compression: str) -> list[Result]:
    with Martlet(scratch) as server:
        lines = scratch / "lines"
        write_lines(lines, records, keys, size)
        tool(server, "topic", "create", name, "--partitions", "1", "--config", f"segment.bytes={SEGMENT}")
        tool(server, "produce", name, "--file", str(lines), "--key-separator", ":", "--compression", compression, "--batch-size", "131072")
        lines.unlink()
        directory = server.directory / "data" / f"{name}-0"
        os.sync()
        copies = [copy_rate(directory, scratch, sync=False), copy_rate(directory, scratch, sync=True)]
        memory, cpu = Memory(server.pid), cpu_seconds(server.pid)
        tool(server, "config", "set", "--topic", name, "cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01")
        deadline = time.monotonic() + 300
        while not (told := cleaned(server, name)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"not cleaned: {server.last_words()}")
            time.sleep(0.05)
        taken, cpu = memory.finish(), cpu_seconds(server.pid) - cpu
        size_before, size_after = int(told["bytesBefore"]), int(told["bytesAfter"])
        rate = size_before / int(told["milliseconds"]) / 1000
    words = f"{size_before / 1e6:.0f} MB, {records} records of {size} bytes, {keys} keys, {compression}; {size_after / 1e6:.0f} MB left"
    return [
        Result(f"{name}", rate, "MB/s", in_words=words),
        Result(f"{name}-cp", copies[0], "MB/s", in_words="cp of the same files in the page cache"),
        Result(f"{name}-cp-sync", copies[1], "MB/s", in_words="the same, waiting for the disk"),
        Result(f"{name}-cpu", cpu / size_before * 1e9, "CPU s/GB"),
        Result(f"{name}-memory", taken, "MB", in_words=f"beyond what was resident before; the map: {told['map']}"),
    ]


def compaction(scratch: Path) -> list[Result]:
    """Each byte is read twice, once for the map of keys, and what stays is written and on the disk in the end."""
    results = []
    for name, records, keys, size, compression in [
        ("compaction-1k", 900_000, 90_000, 1000, "none"),
        ("compaction-100b", 4_000_000, 400_000, 100, "none"),
        ("compaction-1k-lz4", 900_000, 90_000, 1000, "lz4"),
    ]:
        results += clean_once(scratch, name, records, keys, size, compression)
    return results

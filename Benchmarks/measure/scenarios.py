"""The loads that both servers are put under. Each is one server's life: start, warm up, measure, stop."""

import os
from dataclasses import dataclass, field

from . import load
from .servers import Server

GIGABYTE = 1_000_000_000


@dataclass(frozen=True)
class Scenario:
    """One comparison; `fill` is what is produced first when the measured part is reading."""

    name: str
    goal: float
    mode: str
    per: str
    options: dict
    partitions: int = 4
    fill: dict = field(default_factory=dict)
    in_words: str = ""

    def measure(self, server: Server, scale: float) -> dict:
        common = {"topic": "bench", "partitions": self.partitions}
        server.create("bench", self.partitions)
        if self.fill:
            load.run(server, "produce", **common, **{**self.fill, "bytes": int(self.fill["bytes"] * scale)})
        # What was written before is on the disk before anything counts: writing it back takes CPU time from whoever runs meanwhile.
        os.sync()
        amount = "bytes" if "bytes" in self.options else "requests"
        whole = int(self.options[amount] * scale)
        warm_up = {**self.options, amount: max(whole // 20, 1000)}
        load.run(server, self.mode, **common, **warm_up)
        return load.run(server, self.mode, **common, **{**self.options, amount: whole})

    def cost(self, measured: dict) -> float:
        """Server CPU seconds per GB, or microseconds per request."""
        if self.per == "GB":
            return measured["cpu_seconds"] / measured["bytes"] * GIGABYTE
        return measured["cpu_seconds"] / measured["requests"] * 1e6


PRODUCE = {"bytes": 2 * GIGABYTE, "connections": 4, "depth": 4, "value_bytes": 1024}

SCENARIOS = [
    Scenario(
        "produce-cpu-ratio", 1.4, "produce", "GB", {**PRODUCE, "records": 126},
        in_words="1 KB records in 128 KiB batches, uncompressed, acks=1"),
    Scenario(
        "produce-lz4-cpu-ratio", 1.4, "produce", "GB", {**PRODUCE, "records": 157, "compression": "lz4"},
        in_words="the same in lz4 batches of 128 KiB"),
    Scenario(
        "produce-zstd-cpu-ratio", 1.4, "produce", "GB", {**PRODUCE, "records": 290, "compression": "zstd"},
        in_words="the same in zstd batches of 128 KiB"),
    Scenario(
        "consume-cpu-ratio", 1.3, "consume", "GB", {"bytes": 4 * GIGABYTE, "connections": 4, "fetch_bytes": 1 << 20},
        fill={"bytes": GIGABYTE, "records": 126}, in_words="plaintext, warm cache, 1 MiB fetches"),
    Scenario(
        "consume-64k-cpu-ratio", 1.6, "consume", "GB", {"bytes": 3 * GIGABYTE, "connections": 4, "fetch_bytes": 1 << 16},
        fill={"bytes": GIGABYTE, "records": 15, "depth": 8}, in_words="plaintext, warm cache, 64 KiB fetches"),
    Scenario(
        "small-request-cpu-ratio", 3.0, "produce", "request",
        {"requests": 300_000, "connections": 64, "depth": 1, "records": 1, "value_bytes": 100},
        partitions=16, in_words="one 100-byte record per request, 64 connections"),
]

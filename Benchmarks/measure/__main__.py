"""Chooses what is measured, measures it in interleaved rounds, and prints medians with their spread.

Interleaved, because the machine's speed drifts: in every round baseline and broker run right after one another, and the ratio of
that pair is what counts.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from . import native, node, report
from .report import Result
from .scenarios import SCENARIOS, Scenario
from .servers import Baseline, Martlet


def warm_memory(scratch: Path, size: int) -> None:
    """Touches as much page cache as the runs will use: memory that a virtual machine hands out for the first time is slow."""
    print(f"==> Warming {size / 1e9:.0f} GB of page cache")
    block = bytes(1 << 20)
    with open(scratch / "warm", "wb", buffering=0) as file:
        for _ in range(size // len(block)):
            file.write(block)
    (scratch / "warm").unlink()


def compare(scenario: Scenario, subject: type, scratch: Path, rounds: int, scale: float) -> list[Result]:
    pairs = []
    for number in range(rounds):
        pair: list[dict] = [{}, {}]
        # The order changes from round to round, so that neither always runs in the other's wake.
        for index in (0, 1) if number % 2 == 0 else (1, 0):
            with (Baseline, subject)[index](scratch) as server:
                pair[index] = scenario.measure(server, scale)
        pairs.append(pair)
        costs = [scenario.cost(measured) for measured in pair]
        unit = "CPU s/GB" if scenario.per == "GB" else "CPU us/request"
        print(f"    {scenario.name} round {number + 1}: {costs[0]:.3f} against {costs[1]:.3f} {unit}, ratio {costs[1] / costs[0]:.2f}", flush=True)
    ratios = [scenario.cost(pair[1]) / scenario.cost(pair[0]) for pair in pairs]
    results = [Result(scenario.name, statistics.median(ratios), "x", scenario.goal, ratios, scenario.in_words)]
    prefix = scenario.name.removesuffix("-cpu-ratio")
    for index, kind in enumerate(("baseline", "")):
        def median(of):
            return statistics.median(of(pair[index]) for pair in pairs)

        name = f"{prefix}-{kind}" if kind else prefix
        if scenario.per == "GB":
            results.append(Result(f"{name}-throughput", median(lambda m: m["bytes"] / m["seconds"] / 1e6), "MB/s"))
        else:
            results.append(Result(f"{name}-throughput", median(lambda m: m["requests"] / m["seconds"]), "requests/s"))
        for percentile in ("p50", "p99", "p999"):
            results.append(Result(f"{name}-{percentile}", median(lambda m: m[f"{percentile}_us"] / 1000), "ms"))
        results.append(Result(f"{name}-peak-rss", median(lambda m: m["peak_kb"] * 1.024 / 1000), "MB"))
    return results


def parse() -> argparse.Namespace:
    names = [scenario.name for scenario in SCENARIOS] + list(node.PARTS)
    parser = argparse.ArgumentParser(prog="Benchmarks/run", description="Compares the broker with the C baseline.")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of each comparison (5)")
    parser.add_argument("--scale", type=float, default=1.0, help="how much of the full load (1.0)")
    parser.add_argument("--only", action="append", choices=names, help="measure this alone; may be given several times")
    parser.add_argument("--self-check", action="store_true", help="put the baseline in the broker's place: every ratio should be 1")
    parser.add_argument("--scratch", type=Path, help="where the servers' data lies (the system's temporary directory)")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    native.baseline(), native.loadgen()
    scratch = Path(tempfile.mkdtemp(prefix="martlet-bench-", dir=arguments.scratch))
    wanted = arguments.only or [scenario.name for scenario in SCENARIOS] + list(node.PARTS)
    subject = Baseline if arguments.self_check else Martlet
    results: list[Result] = []
    failures = 0
    print(f"==> Measuring on {report.machine()}, load {os.getloadavg()[0]:.2f}")
    try:
        scenarios = [scenario for scenario in SCENARIOS if scenario.name in wanted]
        if scenarios:
            warm_memory(scratch, int(8e9 * min(arguments.scale, 1)))
        parts = [(s.name, lambda s=s: compare(s, subject, scratch, arguments.rounds, arguments.scale)) for s in scenarios]
        if not arguments.self_check:
            parts += [(name, lambda part=part: part(scratch)) for name, part in node.PARTS.items() if name in wanted]
        for name, part in parts:
            print(f"==> {name}", flush=True)
            try:
                results += part()
            except Exception as error:  # one part that cannot run must not hide the others
                failures += 1
                print(f"    could not be measured: {error}", file=sys.stderr)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"==> Results on {report.machine()}, load {os.getloadavg()[0]:.2f}")
    print(report.table(results))
    if os.environ.get("BENCH_JSON"):
        report.write(Path(os.environ["BENCH_JSON"]), results)
        print(f"==> Written to {os.environ['BENCH_JSON']}")
    return 1 if failures else 0

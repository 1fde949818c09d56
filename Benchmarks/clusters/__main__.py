"""Measures clusters of real processes through real clients, with the cluster kit of the tests.

    Benchmarks/cluster [SCENARIO ...] [--rounds 5] [--json FILE]

Without names all scenarios run. Each prints its figures as it goes; medians are over rounds, and the spread is their range."""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "Benchmarks"), str(ROOT / "Tests/Cluster"), str(ROOT / "Tests/Clients"),
                str(ROOT / "Tests/Mixed")]

from figures import Figures  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", help=", ".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--partitions", type=int, default=6000, help="of the scenario `partitions`")
    parser.add_argument("--gigabytes", type=float, default=0.3, help="of the scenario `cpu`; three times as much is written")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    unknown = set(options.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    figures = Figures()
    failed = []
    for name in options.scenarios or SCENARIOS:
        print(f"==> {name}: {SCENARIOS[name].__doc__.splitlines()[0]}", flush=True)
        try:
            SCENARIOS[name](options, figures)
        except Exception as error:
            failed.append(name)
            print(f"    FAILED: {type(error).__name__}: {error}", flush=True)
    print(figures.table())
    if options.json:
        Path(options.json).write_text(json.dumps({
            "binary": os.environ["MARTLET_BINARY"], "machine": platform.platform(), "cpus": os.cpu_count(), "time": time.time(),
            "figures": figures.values, "failed": failed}, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

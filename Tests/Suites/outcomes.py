"""Outcomes of a run, the exceptions that are known, and what becomes of both."""

import json
from collections import Counter
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "exceptions"


def exceptions(suite: str, nodes: int, kind: str) -> dict[str, str]:
    """Tests (or beginnings of their names) with the reason. A line is `excluded|fails [1|3] TEST: reason`; without a number of nodes it is
    about both."""
    found = {}
    path = FOLDER / f"{suite}.txt"
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], start=1):
        if not line.strip() or line.startswith("#"):
            continue
        head, separator, reason = line.partition(": ")
        words = head.split()
        if not separator or words[0] not in ("excluded", "fails") or len(words) not in (2, 3):
            raise ValueError(f"{path.name}:{number}: not understood: {line}")
        if words[0] == kind and (len(words) == 2 or int(words[1]) == nodes):
            found[words[-1]] = reason
    return found


def collect(path: Path) -> dict[str, dict]:
    """The last word on each test of a run's file. What started and never ended took the run down, or was cut off with it."""
    found: dict[str, dict] = {}
    for line in path.read_text().splitlines():
        each = json.loads(line)
        found[each["test"]] = each
    for each in found.values():
        if each["outcome"] == "started":
            each.update(outcome="failed", message="did not end")
    return found


def judge(suite: str, nodes: int, found: dict[str, dict]) -> int:
    """Prints the totals and every failure; returns how many of them are not known."""
    known = exceptions(suite, nodes, "fails")
    surprises = 0
    for name, each in sorted(found.items()):
        reason = next((why for start, why in known.items() if name.startswith(start)), None)
        if each["outcome"] == "failed":
            surprises += reason is None
            last = (each["message"].splitlines() or [""])[-1]
            print(f"    {'FAILED' if reason is None else 'fails, as is known'}: {name}: {reason or last}")
        elif each["outcome"] == "passed" and reason:
            print(f"    passed, though it is listed as failing: {name}")
    totals = Counter(each["outcome"] for each in found.values())
    size = "" if suite == "java" else f", {nodes} node{'s' if nodes > 1 else ''}"
    print(f"    {suite}{size}: " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(totals.items())))
    return surprises

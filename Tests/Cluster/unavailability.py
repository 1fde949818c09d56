"""How long clients could not write, per fault, from the acknowledgements of a history."""

from bisect import bisect_left
from collections import defaultdict

from operations import OK, Operation


def acknowledgements(operations: list[Operation]) -> dict[str, list[float]]:
    """The moments of acknowledgements, by partition."""
    moments: dict[str, list[float]] = defaultdict(list)
    for operation in operations:
        if operation.outcome == OK and operation.end is not None:
            for key, _, _ in operation.sends:
                moments[key].append(operation.end)
    return {key: sorted(each) for key, each in moments.items()}


def longest_gap(moments: list[float], start: float, end: float) -> float:
    """The longest time without an acknowledgement within the window."""
    longest, before = 0.0, start
    for moment in moments[bisect_left(moments, start):]:
        longest = max(longest, min(moment, end) - before)
        before = moment
        if moment >= end:
            return longest
    return max(longest, end - before)


def per_fault(operations: list[Operation], faults: list[dict]) -> list[dict]:
    """Each fault with the longest gap of any partition and of the one that had the shortest, from its beginning to the next one's."""
    moments = acknowledgements(operations)
    last = max((each[-1] for each in moments.values() if each), default=0.0)
    results = []
    for number, fault in enumerate(faults):
        until = faults[number + 1]["start"] if number + 1 < len(faults) else max(last, fault["end"] or last)
        gaps = [longest_gap(each, fault["start"], until) for each in moments.values()]
        results.append({**fault, "worst": max(gaps, default=0.0), "best": min(gaps, default=0.0)})
    return results


def table(results: list[dict]) -> str:
    """By kind of fault: how often, how long it lasted, and the gaps' median and maximum over partitions' worst."""
    kinds: dict[str, list[dict]] = defaultdict(list)
    for result in results:
        kinds[result["fault"]].append(result)
    lines = [f"{'fault':<22}{'times':>6}{'lasted s':>10}{'gap median s':>14}{'gap max s':>11}{'other partitions s':>20}"]
    for name, each in sorted(kinds.items()):
        lasted = median([(result["end"] or result["start"]) - result["start"] for result in each])
        gaps = [result["worst"] for result in each]
        best = median([result["best"] for result in each])
        lines.append(f"{name:<22}{len(each):>6}{lasted:>10.1f}{median(gaps):>14.2f}{max(gaps):>11.2f}{best:>20.2f}")
    return "\n".join(lines)


def median(values: list[float]) -> float:
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2

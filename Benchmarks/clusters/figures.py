"""Figures with their spread and the goal they are measured against."""

from dataclasses import dataclass, field


@dataclass
class Figures:
    values: list[dict] = field(default_factory=list)

    def add(self, name: str, samples: list[float], unit: str, goal: float | None = None) -> None:
        if not samples:
            return
        ordered = sorted(samples)
        middle = len(ordered) // 2
        median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
        entry = {"name": name, "median": median, "low": ordered[0], "high": ordered[-1], "count": len(ordered), "unit": unit, "goal": goal,
                 "samples": samples}
        self.values.append(entry)
        print("    " + self.line(entry), flush=True)

    @staticmethod
    def line(entry: dict) -> str:
        goal = "" if entry["goal"] is None else f"  goal {entry['goal']:g}: {'met' if entry['median'] <= entry['goal'] else 'MISSED'}"
        return (
            f"{entry['name']:<58}{entry['median']:>10.3f} {entry['unit']:<4} "
            f"({entry['low']:.3f}-{entry['high']:.3f}, n={entry['count']}){goal}")

    def table(self) -> str:
        return "\n".join(["==> Figures (median, range)"] + [f"    {self.line(entry)}" for entry in self.values])

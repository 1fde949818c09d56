"""One measured number with its goal, the table for people and the file for machines."""

import json
import platform
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Result:
    """A number; where there is a goal, at most that is wanted. `rounds` are the numbers whose median it is."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    rounds: list[float] = field(default_factory=list)
    in_words: str = ""

    @property
    def is_reached(self) -> bool | None:
        return None if self.goal is None else self.value <= self.goal

    def line(self) -> str:
        goal = "" if self.goal is None else f"goal {self.goal:g}"
        verdict = {None: "", True: "reached", False: "MISSED"}[self.is_reached]
        spread = f"{min(self.rounds):.2f}-{max(self.rounds):.2f}" if self.rounds else ""
        return f"  {self.name:<36}{self.value:>10.2f} {self.unit:<12}{goal:<10}{verdict:<9}{spread:<14}{self.in_words}"


def table(results: list[Result]) -> str:
    header = f"  {'name':<36}{'value':>10} {'unit':<12}{'goal':<10}{'':<9}{'rounds':<14}"
    return "\n".join([header, *(result.line() for result in results)])


def machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    cores = sum(line.startswith("processor") for line in open("/proc/cpuinfo"))
    return f"{model}, {cores} cores, Linux {platform.release()}"


def write(path: Path, results: list[Result]) -> None:
    rows = [{"name": r.name, "value": round(r.value, 4), "unit": r.unit, "goal": r.goal} for r in results]
    path.write_text(json.dumps({"results": rows}, indent=1) + "\n")

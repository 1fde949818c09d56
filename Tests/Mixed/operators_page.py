"""The commands of docs/migrate-from-kafka.md, so that tests run what the page says and nothing else."""

import re
import shlex
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "migrate-from-kafka.md"


class Section:
    """One section of the page, by its heading. `taken` are the commands that were run."""

    def __init__(self, heading: str):
        text = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)[1]
        consoles = re.findall(r"^ *\$ (.+)$", text, re.MULTILINE)
        spans = re.findall(r"`((?:martlet|kafka-[a-z-]+\.sh) [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
        self.commands = dict.fromkeys(re.sub(r"\s+", " ", each) for each in consoles + spans)
        self.taken: set[str] = set()

    def take(self, command: str, **places: object) -> list[str]:
        """The command as it stands there, in words, with the reader's own names put in for those of the page."""
        assert command in self.commands, f"the page does not say {command!r}, but {list(self.commands)}"
        self.taken.add(command)
        words = shlex.split(command)
        for name, value in places.items():
            assert any(re.search(rf"\b{name}\b", word) for word in words), f"{name} is not in {command!r}"
            words = [re.sub(rf"\b{name}\b", str(value), word) for word in words]
        return words

    @property
    def left(self) -> list[str]:
        return [command for command in self.commands if command not in self.taken]

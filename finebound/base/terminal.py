"""What reaches a terminal: texts from files are shown and do not steer it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console as RichConsole
from rich.segment import Segment

from finebound.base.text import printable


class Console(RichConsole):
    """Rich's console; what is printed on it is ``printable``, its own colours apart."""

    def render(self, *arguments: Any, **options: Any) -> Iterator[Segment]:
        for segment in super().render(*arguments, **options):
            if segment.control:
                yield segment
            else:
                yield segment._replace(text=printable(segment.text))

"""For the site: examples in docstrings are code, not Markdown quotes."""

from typing import Any

import griffe


class FenceDoctests(griffe.Extension):
    """Puts each run of lines from ``>>>`` to the next empty line between fences."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """See `griffe.Extension`."""
        if obj.docstring is None:
            return
        lines: list[str] = []
        inside, fence = False, "```"
        for line in obj.docstring.value.splitlines():
            if not inside and line.lstrip().startswith(">>>"):
                fence = " " * (len(line) - len(line.lstrip())) + "```"
                lines += ["", f"{fence}pycon"] if fence == "```" else [f"{fence}pycon"]
                inside = True
            elif inside and not line.strip():
                lines.append(fence)
                inside = False
            lines.append(line)
        obj.docstring.value = "\n".join([*lines, fence] if inside else lines)

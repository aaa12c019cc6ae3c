"""The generated blocks of README.md and docs/: `<!-- NAME -->`, lines that a command prints, `<!-- /NAME -->`.

Every generated table of a page is refreshed by `replace_block`. A block that a command of the shell prints is piped:

    COLUMNS=80 lightning plan --config configs/fer_gradual.yaml | python -m basics.blocks plan
"""

import re
import sys
from pathlib import Path

from basics.errors import stop
from basics.files import write_file


def all_pages() -> list[Path]:
    """README.md and docs/*.md of the folder where the command runs."""
    return [page for page in (Path("README.md"), *sorted(Path("docs").glob("*.md"))) if page.is_file()]


def block_names() -> list[str]:
    """Names of all blocks, in the order of the pages."""
    return re.findall(r"^<!-- ([a-z][\w-]*) -->$", "\n".join(page.read_text() for page in all_pages()), re.M)


def read_block(name: str) -> str:
    """The lines between the markers of a block.

    Raises:
        SystemExit: No page has the block, or its end is missing; one line says so.
    """
    return _find(name)[2]


def replace_block(name: str, content: str) -> Path:
    """Write new lines between the markers of a block. The page is replaced as a whole or not at all.

    Args:
        name: Name of the block.
        content: The new lines.

    Returns:
        The page that holds the block.

    Raises:
        SystemExit: No page has the block, or its end is missing; one line says so.
    """
    page, before, old, after = _find(name)
    lines = content.rstrip("\n") + "\n"
    if lines != old:
        write_file(page, before + lines + after)
    return page


def indented(text: str) -> str:
    """The lines of a terminal as a code block of Markdown, without empty lines around them."""
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    return "".join(f"    {line}".rstrip() + "\n" for line in lines).strip("\n") + "\n"


def _find(name: str) -> tuple[Path, str, str, str]:
    """The page of a block, the text up to its first line, its lines, and the text from its end."""
    start = f"<!-- {name} -->\n"
    end = f"<!-- /{name} -->"
    page = next((page for page in all_pages() if start in page.read_text()), None)
    if page is None:
        stop(f"no page has a line {start.strip()} with a line {end} below it: README.md and docs/ are searched")
    before, _, rest = page.read_text().partition(start)
    block, closed, after = rest.partition(end)
    if not closed:
        stop(f"{page}: {start.strip()} has no {end} below it")
    return page, before + start, block, closed + after


def main() -> None:
    """Put what the standard input holds into a block."""
    if len(sys.argv) != 2:
        stop("usage: COMMAND | python -m basics.blocks NAME")
    print(f"wrote the block {sys.argv[1]} of {replace_block(sys.argv[1], indented(sys.stdin.read()))}")


if __name__ == "__main__":
    main()

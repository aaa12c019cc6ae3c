"""Generated blocks of the pages: found by their markers, replaced as a whole or not at all."""

import io
import sys
from pathlib import Path

import pytest

from basics import blocks

PAGE = "above\n<!-- one -->\nold\n<!-- /one -->\nbetween\n<!-- two-b -->\n<!-- /two-b -->\nbelow\n"


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """A README.md without blocks and a page with two; the working directory is theirs."""
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    Path("README.md").write_text("# Title\n")
    Path("docs/page.md").write_text(PAGE)
    return Path("docs/page.md")


def test_a_block_is_found_and_replaced_and_nothing_else(pages):
    assert blocks.block_names() == ["one", "two-b"]
    assert blocks.read_block("one") == "old\n"
    assert blocks.replace_block("one", "new \\1\nlines") == pages
    assert pages.read_text() == PAGE.replace("old\n", "new \\1\nlines\n")
    blocks.replace_block("two-b", "second\n")
    assert blocks.read_block("two-b") == "second\n"
    assert Path("README.md").read_text() == "# Title\n"
    assert sorted(path.name for path in Path("docs").iterdir()) == ["page.md"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("three", PAGE, "no page has a line <!-- three --> with a line <!-- /three --> below it"),
        ("one", "<!-- one -->\nold\n", "docs/page.md: <!-- one --> has no <!-- /one --> below it"),
        ("one", "<!-- /one -->\n<!-- one -->\nold\n", "docs/page.md: <!-- one --> has no <!-- /one --> below it"),
    ],
)
def test_a_marker_that_is_missing_is_one_line_and_no_page_changes(pages, capsys, name, text, message):
    pages.write_text(text)
    with pytest.raises(SystemExit) as stopped:
        blocks.replace_block(name, "new\n")
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert pages.read_text() == text


def test_what_a_command_prints_is_piped_into_a_block(pages, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n  a table  \n\nits note\n\n"))
    monkeypatch.setattr(sys, "argv", ["blocks", "one"])
    blocks.main()
    assert blocks.read_block("one") == "      a table\n\n    its note\n"
    assert capsys.readouterr().out == "wrote the block one of docs/page.md\n"

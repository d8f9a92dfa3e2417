"""Printing: one JSON document on stdout, tables for people, remarks on stderr."""

import json
import sys
from collections.abc import Mapping

from rich.console import Console

_PIPE_WIDTH = 1000  # columns


def print_json(document: Mapping[str, object]) -> None:
    """Exactly one document on stdout. File names need not be UTF-8: their odd bytes are escaped as surrogates, as os.fsdecode gives them."""
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    sys.stdout.flush()


def remark(text: str) -> None:
    """One line for people; never on stdout, which belongs to the answer."""
    sys.stderr.write(f"{printable(text)}\n")


def printable(text: str) -> str:
    """Text that any terminal takes: a file name's odd bytes become escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def table_console() -> Console:
    """Standard output for tables. Where it is no terminal lines are as long as they need to be: nothing is folded for a pipe or a file."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)

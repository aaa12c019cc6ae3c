"""The error that is the user's to mend, and how a program ends with it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class UserError(Exception):
    """A mistake of the user: the message names the file, row or key and says what to do.

    The command line shows it as one line with exit code 2. Every other exception is a defect of this project or of a
    library, and keeps its traceback.
    """


def stop(message: str) -> NoReturn:
    """Print `error: message` on one line and exit with code 2."""
    print("error: " + " ".join(message.split()), file=sys.stderr)
    raise SystemExit(2)


@contextmanager
def one_line_mistakes() -> Iterator[None]:
    """Stop with one line at a mistake of the user, also if a parser has wrapped it in an exception of its own."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        if cause:
            stop(str(cause))
        raise

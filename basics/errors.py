"""The error that is the user's to mend, and how a program ends with it."""

import sys
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


def user_mistake(error: BaseException | None) -> UserError | None:
    """The mistake of the user that an exception is, also if a parser has wrapped it in an exception of its own."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error

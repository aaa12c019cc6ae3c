"""Fetch a file from its publisher: resumed where it stopped, checked, and renamed when complete."""

import http.client
import urllib.error
import urllib.request
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from basics.errors import UserError
from basics.files import checksum

CHUNK = 1 << 20


def download(url: str, target: Path, sha256: str | None = None) -> Path:
    """Fetch `url` into `target`, unless that file exists.

    Bytes that have arrived are kept in `target` + `.part`; a later call asks the server only for the rest.

    Args:
        url: Address of the file at its publisher.
        target: Path of the complete file.
        sha256: Checksum that the file must have before it gets its name; None accepts any file.

    Returns:
        `target`.

    Raises:
        UserError: The server cannot be reached, it stopped in the middle, or the file is not the expected one.
    """
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    have = part.stat().st_size if part.is_file() else 0
    rank_zero_info(f"downloading {url} to {target}" + (f", from byte {have:,}" if have else ""))
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            # 206: the server sends the rest. 200: it does not know how to, and sends everything.
            with part.open("ab" if answer.status == 206 else "wb") as file:
                while chunk := answer.read(CHUNK):
                    file.write(chunk)
            expected = answer.headers.get("Content-Length")
        if expected and part.stat().st_size < int(expected) + (have if answer.status == 206 else 0):
            raise ConnectionError("the connection ended early")
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise UserError(f"cannot download {url} (HTTP {error.code}): put the file at {target}") from error
        # 416: nothing is left to send, unless the part is of another file.
        if error.headers.get("Content-Range") != f"bytes */{have}":
            part.unlink()
            return download(url, target, sha256)
    except (OSError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", error)).strip()
        raise UserError(f"cannot download {url} ({reason}): run again to go on, or put the file at {target}") from error
    if sha256 is not None:
        with part.open("rb") as file:
            found = checksum(iter(lambda: file.read(CHUNK), b""))
        if found != sha256:
            part.unlink()
            raise UserError(f"{url} gave a file with SHA-256 {found}, expected {sha256}: run again")
    part.replace(target)
    return target

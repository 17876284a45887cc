"""Files that are replaced whole or not at all."""

import contextlib
import os
from pathlib import Path

from tools import interruption


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step: whoever looks, or interrupts, finds the old content or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")  # known before it is there, to be cleared away
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or a power failure could leave the new name with no content
        os.chmod(temporary, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        interruption.end_if_asked()
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise

"""What a server takes on, and how it says no."""

from dataclasses import dataclass

from shotnoise.errors import ShotnoiseError

__all__ = ["MEGA", "Limits", "RefusedError"]

MEGA = 10**6


class RefusedError(ShotnoiseError):
    """Something that was asked of the server and is not done; `status` is the one of HTTP."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a server.

    Attributes:
        upload: bytes of one request, which is one file over HTTP.
        pixels: of a picture, by its header.
        queue: pieces of work that wait; more are refused.
        seconds: of work on one file, after which it is stopped.
        files: of one pile on the page.
        idle: seconds after which the files of a page that nobody looks at are removed.
    """

    upload: int = 200 * MEGA
    pixels: int = 150 * MEGA
    queue: int = 16
    seconds: float = 600.0
    files: int = 100
    idle: float = 3600.0

    @property
    def pile(self) -> int:
        """Bytes of several files that come to the page together."""
        return 10 * self.upload

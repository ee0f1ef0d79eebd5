"""What a service takes, and how long it waits."""

from dataclasses import dataclass, field

from harmonizer.serve.keys import Keys


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits, all of them checked before a picture is decoded.

    Attributes:
        jobs: Pictures in work at a time.
        queue: Requests at a time that are read, wait or are in work; what comes beyond is answered
            with 429.
        max_bytes: Of a request's body.
        max_pixels: Of a picture; all that are in work share the memory of one of that size.
        head_seconds: A request's head must come within that time.
        body_seconds: Its body must.
        wait_seconds: How long a request may wait for its turn; then it is answered with 503.
        grace_seconds: When the service ends, how long it goes on with what it has taken.
        connections: At a time.
        keys: Who may ask; None for everybody.
    """

    jobs: int = 1
    queue: int = 16
    max_bytes: int = 64 << 20
    max_pixels: int = 50_000_000
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    wait_seconds: float = 60.0
    grace_seconds: float = 30.0
    connections: int = 512
    keys: Keys | None = field(default=None, repr=False)

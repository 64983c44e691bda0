"""What can go wrong with a request, and what is true afterwards.

ApiError
├── BadRequest           400
├── OriginRefused        403
├── BodyTooSlow          408
├── BodyTooLarge         413
├── CodingNotTaken       415
├── NotFound             404
├── MethodNotAllowed     405
└── Unavailable          503, with Retry-After
    ├── RedisUnavailable
    ├── RedisRecovering
    ├── RedisSuperseded
    ├── OtherSystem
    ├── Busy
    ├── OutboxFull
    ├── ItemsFull
    ├── ArchiveUnavailable
    │   └── MaybeArchived
    └── OutcomeUnknown
"""


class ApiError(Exception):
    """An error answer. ``code`` is for programs, ``sentence`` for people."""

    status: int
    code: str
    sentence: str
    allow: str | None = None

    def __init__(self, sentence: str | None = None, *, code: str | None = None) -> None:
        if sentence is not None:
            self.sentence = sentence
        if code is not None:
            self.code = code
        super().__init__(self.sentence)


class BadRequest(ApiError):  # noqa: N818 - HTTP's own term
    """The request is malformed or asks for something impossible. Nothing was written."""

    status = 400
    code = "invalid_body"
    sentence = "Invalid request body"


class OriginRefused(ApiError):  # noqa: N818
    """A web page asked that may not bid here (ALLOWED_ORIGINS). Nothing was written."""

    status = 403
    code = "origin_refused"
    sentence = "Pages of this origin may not bid here"


class BodyTooLarge(ApiError):  # noqa: N818
    """The body is over the limit and was not read to the end. Nothing was written."""

    status = 413
    code = "body_too_large"
    sentence = "Request body is over 64 KiB"


class CodingNotTaken(ApiError):  # noqa: N818
    """The body is encoded in a way that is not read here. Nothing was written."""

    status = 415
    code = "content_coding_unknown"
    sentence = "Content-Encoding must be gzip, deflate or identity"


class BodyTooSlow(ApiError):  # noqa: N818
    """The body did not arrive within 10 s. Nothing was written; the connection is closed."""

    status = 408
    code = "body_too_slow"
    sentence = "Request body did not arrive in time"


class NotFound(ApiError):  # noqa: N818
    """No such route."""

    status = 404
    code = "not_found"
    sentence = "Not found"


class MethodNotAllowed(ApiError):  # noqa: N818
    """The route has no such method. Nothing was written."""

    status = 405
    code = "method_not_allowed"
    sentence = "Method not allowed"

    def __init__(self, allow: str) -> None:
        super().__init__()
        self.allow = allow


class Unavailable(ApiError):  # noqa: N818
    """The request cannot be served now and may be sent again."""

    status = 503


class RedisUnavailable(Unavailable):
    """Redis is away, or refused the command. Nothing was written."""

    code = "redis_unavailable"
    sentence = "The bid store cannot be reached; nothing was written"


class RedisRecovering(Unavailable):
    """Redis restarted or was emptied and may have forgotten bids. Nothing was written."""

    code = "redis_recovering"
    sentence = "The bid store is being recovered; nothing was written"


class RedisSuperseded(Unavailable):
    """Another Redis was opened after this one and has gone on. Nothing was written."""

    code = "redis_superseded"
    sentence = "The bid store was replaced by another one; nothing was written"


class OtherSystem(Unavailable):
    """Redis and the stream belong to different systems. Nothing was written."""

    code = "other_system"
    sentence = "The bid store and the event stream belong to different systems; nothing was written"


class Busy(Unavailable):
    """A bounded queue is full, or an optimistic bid lost every round. Nothing was written."""

    code = "busy"
    sentence = "Too many requests at once; nothing was written"


class OutboxFull(Unavailable):
    """Events wait for JetStream and the outbox is at its cap. Nothing was written."""

    code = "outbox_full"
    sentence = "Too many accepted bids wait to be passed on; nothing was written"


class ItemsFull(Unavailable):
    """The bid would make an item, and its partition is at ITEMS_MAX. Nothing was written."""

    code = "items_full"
    sentence = "Too many items have bids; no new one can be made, and nothing was written"


class ArchiveUnavailable(Unavailable):
    """The item may have left Redis, and the archive does not answer. Nothing was written."""

    code = "archive_unavailable"
    sentence = "The item is archived and the archive cannot be reached; nothing was written"


class MaybeArchived(ArchiveUnavailable):
    """The item is not in Redis and may be in the archive, which was not asked yet."""

    def __init__(self, *, departures: int, opening: str) -> None:
        """``departures`` of the partition so far, in the ``opening`` of Redis (its run id)."""
        super().__init__()
        self.departures = departures
        self.opening = opening


class OutcomeUnknown(Unavailable):
    """The command was sent and its reply lost, so it is not sent again: the bid may be accepted."""

    code = "outcome_unknown"
    sentence = "The bid may have been accepted; read the item"

"""A Lua script on the hot path's own connection."""

import hashlib

import hiredis

from pkg.api.redis.connection import RedisConnection, Reply, pack


class Script:
    """Sent by its name; whole if the server does not know it (any more)."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._sha = hashlib.sha1(text).hexdigest()  # noqa: S324 - Redis names scripts by SHA-1

    async def run(self, connection: RedisConnection, arguments: tuple[str | bytes, ...]) -> Reply:
        """``arguments``: the number of keys, the keys, the others. Raises what ``submit`` does."""
        try:
            return await connection.submit(pack("EVALSHA", self._sha, *arguments))
        except hiredis.ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            # The script cache was flushed. Nothing ran, so sending the whole script is safe.
            return await connection.submit(pack("EVAL", self._text, *arguments))

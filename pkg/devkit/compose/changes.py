"""What happens to containers while a foreground `up` looks on."""

from collections.abc import Iterator, Sequence

from pkg.devkit.compose.container import Container


def changes(before: Sequence[Container], now: Sequence[Container]) -> Iterator[str]:
    """What has come to pass between two looks, a line each."""
    earlier = {one.id: one for one in before}
    for one in now:
        was = earlier.pop(one.id, None)
        if was is None:
            yield f"{one.replica} starts"
        elif one.restarts > was.restarts:
            yield f"{one.replica} ended and was started again (restart {one.restarts})"
        elif one.ready and not was.ready:
            yield f"{one.replica} is ready"
        elif was.ready and not one.ready:
            yield f"{one.replica} is {one.phase}: {one.why or 'no reason known'}"
    for one in earlier.values():
        yield f"{one.replica} is gone"

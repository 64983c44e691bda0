"""Names of Redis keys. A partition's keys share a hash tag, so that one script may use them all."""


def item_key(partition: str, item_id: str) -> str:
    """Hash: an item's state (see ``pkg.auction.item.FIELDS``)."""
    return f"{{{partition}}}:item:{item_id}"


ITEM_KEYS = "{p*}:item:*"
"""Pattern of the keys of items, of all partitions and perhaps of others."""


def split_item_key(key: str) -> tuple[str, str]:
    """The partition and the item's id of a key that matches ITEM_KEYS."""
    tag, _, item_id = key.partition(":item:")
    return tag[1:-1], item_id


def outbox_key(partition: str) -> str:
    """Stream: one entry per accepted event, with its JSON in field ``e``."""
    return f"{{{partition}}}:outbox"


def meta_key(partition: str) -> str:
    """Hash: records about the partition (see ``pkg.stores.redis_meta``)."""
    return f"{{{partition}}}:meta"


def witnessed_key(partition: str) -> str:
    """Hash with a TTL: bids by event_id that gateways remembered as accepted when Redis came back
    (see ``pkg.auction.witnessed``).
    """
    return f"{{{partition}}}:witnessed"


def departed_key(partition: str) -> str:
    """String of bits: the filter of items that left Redis (see ``pkg.auction.departed``)."""
    return f"{{{partition}}}:departed"


RELAY_LEASE = "relay:lease"
"""String with a TTL: the name of the relaying process. It has no hash tag, as one server holds all
partitions; where several do, each needs a lease of its own, under its own tag.
"""

"""What goes wrong: crashes, outages, late calls and stores that lose data."""

from pkg.auction.outbox import OutboxId
from tests.unit.model.processes import OUTBOX_MAX_ENTRIES, Process
from tests.unit.model.system import PARTITIONS, System
from tests.unit.model.world import Call, Place

HOUR_S = 3600
FAR_AHEAD_MS = 10 * 365 * 24 * HOUR_S * 1000


class Troubles:
    def __init__(self, system: System) -> None:
        self._system = system
        self._world = system.world
        self._stream = system.stream

    def late_call_arrives(self) -> None:
        waiting = [each for each in self._world.late if each.place not in self._world.away]
        if waiting:
            call = self._world.chance.choice(waiting)
            self._world.late.remove(call)
            self._world.note(f"late: {call}")
            self._arrive(call)

    def pass_long_time(self) -> None:
        seconds = self._world.chance.choice([11, 31, 61, 601, 1_300, 13 * HOUR_S, 25 * HOUR_S])
        self._world.note(f"{seconds} s pass")
        self._world.loop.jump(seconds)

    def crash_relay(self) -> None:
        self._crash(self._world.chance.choice(self._system.relays))

    def crash_worker(self) -> None:
        self._crash(self._world.chance.choice(self._system.workers))

    def toggle_redis(self) -> None:
        self._world.away ^= {Place.REDIS}
        self._world.note(f"away: {sorted(self._world.away)}")

    def toggle_nats(self) -> None:
        self._world.away ^= {Place.NATS}
        self._world.note(f"away: {sorted(self._world.away)}")
        if Place.NATS not in self._world.away:
            self._system.reconnect()

    def toggle_postgres(self) -> None:
        self._world.away ^= {Place.POSTGRES}
        self._system.archive.roll_back()
        self._world.note(f"away: {sorted(self._world.away)}")

    def delete_stream(self) -> None:
        """Deleted by an operator, or lost with NATS' disk, in which case clients reconnect."""
        self._world.note("the stream is deleted")
        being_removed = self._being_removed()
        self._stream.delete()
        self._system.promises.stream_lost(being_removed=being_removed)
        self._lose_notices()
        if self._world.chance.random() < 0.5:
            self._system.reconnect()
        else:
            for worker in self._system.workers:
                worker.client.refuse("409")

    def cut_tail(self) -> None:
        self._world.note("the stream's tail is cut")
        being_removed = self._being_removed()
        self._stream.cut_tail(self._world.chance.randint(1, 3))
        self._system.promises.stream_lost(being_removed=being_removed)
        self._lose_notices()
        self._system.reconnect()

    def remove_message(self) -> None:
        """Removes any message, as an operator may; the archive may not have seen it."""
        if self._stream.messages:
            gone = self._world.chance.choice(self._stream.messages)
            self._world.note(f"message {gone.sequence} is removed")
            being_removed = self._being_removed()
            self._stream.messages.remove(gone)
            self._system.promises.cut_out(gone.event_ids, being_removed=being_removed)

    def forget(self) -> None:
        server = self._world.chance.choice(self._system.servers)
        self._world.note(f"{server.name} forgets its tail")
        server.forget()
        self._system.promises.store_lost(being_removed=set())

    def sync_redis(self) -> None:
        self._world.chance.choice(self._system.servers).sync()

    def replicate(self) -> None:
        self._system.servers[0].replicate()

    def promote(self) -> None:
        """By hand, while gateways still use the primary; it may lack what was not replicated."""
        if len(self._system.servers) == 1:
            self._world.note("the replica is promoted")
            self._system.promote()

    def forge_watermark(self) -> None:
        """Somebody announces as archived what no outbox has given out yet."""
        partition = self._world.chance.choice(PARTITIONS)
        relay = self._world.chance.choice(self._system.relays)
        through = OutboxId(self._world.now_ms + FAR_AHEAD_MS, 0)
        self._world.send(
            f"a forged watermark of {partition}, to {relay.name}",
            lambda: relay.relay.archive_has(partition, through),
        )

    def _crash(self, process: Process) -> None:
        """Kills and restarts a process. Its pending calls may still take effect, now or later."""
        self._world.note(f"{process.name} crashes")
        for call in [each for each in self._world.calls if each.caller == process.name]:
            self._world.calls.remove(call)
            fate = self._world.chance.choice(["dropped", "done", "late"])
            if fate == "late" and call.may_be_late:
                self._world.late.append(call)
            elif fate == "done" and call.place not in self._world.away and call.ready():
                self._world.note(f"{call} is done after the crash")
                self._arrive(call)
                if not call.may_be_done_unknown:
                    self._system.archive.roll_back()
            else:
                call.abandon()
        self._system.kill(process)
        process.start()

    def _arrive(self, call: Call) -> None:
        try:
            call.effect()
        except Exception as refusal:  # noqa: BLE001 - its caller has given up
            self._world.note(f"refused: {refusal}")

    def _lose_notices(self) -> None:
        """Messages on their way through NATS are lost with the connection."""
        self._world.notices.clear()

    def _being_removed(self) -> set[str]:
        """Events that a relay is about to trim because JetStream has just confirmed them.

        Checking and trimming are not atomic, so a loss in between counts as one after trimming.
        """
        leaving: set[str] = set()
        for call in self._world.calls:
            if call.name.startswith("retire"):
                _, most, _, partition, _, through = call.name.split()
                for server in self._system.servers:
                    leaving |= server.oldest(partition, int(most), through=OutboxId.parse(through))
            elif call.name == "all taken?":
                for server in self._system.servers:
                    for partition in PARTITIONS:
                        leaving |= server.oldest(partition, OUTBOX_MAX_ENTRIES)
        return leaving

"""The steps of normal operation: answers, deliveries, bids and the passing of time."""

from tests.unit.model.system import System
from tests.unit.model.world import Call, Place

MOST_BIDS = 40
NOTICES_KEPT = 40


class Turns:
    """``lossy`` is the share of calls and messages that get lost."""

    def __init__(self, system: System, *, lossy: float) -> None:
        self._system = system
        self._world = system.world
        self._stream = system.stream
        self.lossy = lossy

    def answer(self) -> None:
        ready = [call for call in self._world.calls if call.ready()]
        if ready:
            self._end(self._world.chance.choice(ready))

    def deliver(self) -> None:
        open_pulls = [each.client for each in self._system.workers if each.client.pull]
        waiting = self._stream.waiting()
        if Place.NATS in self._world.away or not (open_pulls and waiting and self._stream.consumer):
            return
        client = self._world.chance.choice(open_pulls)
        assert client.pull
        if client.pull.credit == 0:
            return
        new = [each for each in waiting if each.sequence not in self._stream.consumer.delivered]
        in_order = new and self._world.chance.random() < 0.6
        stored = new[0] if in_order else self._world.chance.choice(waiting)
        self._world.note(f"delivered: {stored.sequence} of {stored.partition}")
        client.deliver(stored)

    def deliver_notice(self) -> None:
        if not self._world.notices or Place.NATS in self._world.away:
            return
        notice = self._world.chance.choice(self._world.notices)
        self._world.notices.remove(notice)
        if self._world.chance.random() < self.lossy:
            return
        self._world.note(f"notice: {notice.what}")
        notice.deliver()
        del self._world.notices[:-NOTICES_KEPT]

    def bid(self) -> None:
        if Place.REDIS in self._world.away:
            return
        server = self._world.chance.choice(self._system.servers)
        before = len(self._system.accepted)
        for _ in range(self._world.chance.randint(1, 3)):
            if len(self._system.accepted) < MOST_BIDS:
                server.bid()
        self._world.note(f"{len(self._system.accepted) - before} bids at {server.name}")

    def pass_time(self) -> None:
        self._world.loop.jump(self._world.chance.choice([0.05, 0.3, 1.1, 2.5]))

    def change_leases(self) -> None:
        for relay in self._system.relays:
            if self._world.chance.random() < 0.7:
                relay.lease.give()
            else:
                relay.lease.take()

    def drain(self) -> bool:
        """Ends all calls and delivers all messages once; returns False if there were none."""
        moved = False
        for call in [each for each in self._world.calls if each.ready()]:
            if call in self._world.calls and call.ready():
                self._end(call)
                moved = True
        for notice in list(self._world.notices):
            self._world.notices.remove(notice)
            notice.deliver()
        # Delivers new messages first; redelivers unacknowledged ones once nothing else is to do.
        delivered = self._stream.consumer.delivered if self._stream.consumer and moved else set()
        for stored in self._stream.waiting():
            pulls = [each.client for each in self._system.workers if each.client.pull]
            ready = [each for each in pulls if each.pull and each.pull.credit]
            if ready and self._stream.consumer and stored.sequence not in delivered:
                self._world.chance.choice(ready).deliver(stored)
                moved = True
        return moved

    def _end(self, call: Call) -> None:
        """Ends a call: done, lost before or after its effect, or given up and done later."""
        fate = "done"
        if call.place in self._world.away:
            fate = self._world.chance.choice(["before", "late"])
        elif self._world.chance.random() < self.lossy:
            fate = self._world.chance.choice(["before", "after", "late"])
        if fate == "late" and not call.may_be_late:
            fate = "before"
        if fate == "after" and not call.may_be_done_unknown:
            fate = "before"
        self._world.note(f"{call} ... {fate}")
        self._world.calls.remove(call)
        error: Exception | None = call.failure()
        answer = None
        if fate in {"done", "after"}:
            try:
                answer = call.effect()
                error = None if fate == "done" else error
            except Exception as refusal:  # noqa: BLE001 - any refusal of the store
                self._world.note(f"refused: {refusal}")
                error = refusal
        elif fate == "late":
            self._world.late.append(call)
        if fate == "before":
            call.abandon()
        if error is not None:
            call.answer.set_exception(error)
        else:
            call.answer.set_result(answer)

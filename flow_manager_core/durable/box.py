"""One container's durable messages: those that wait, and those under way, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from attrs import define

from flow_manager_core.durable.letters import Letter

#: Messages, and bytes of them, that may be under way to a flow, or from it, without an
#: acknowledgement; one message may be, however large.
WINDOW = 64
WINDOW_BYTES = 4 * 1024 * 1024


@define
class Totals:
    """What lies in all boxes together."""

    messages: int = 0
    size: int = 0

    def change(self, messages: int, size: int) -> None:
        """Count messages and bytes in, or out."""
        self.messages += messages
        self.size += size


class Box:
    """Says what is sent next; knows nothing of connections and journals.

    Args:
        container_id: the engine's full id.
        totals: counts what lies here as well.
    """

    def __init__(self, container_id: str, totals: Totals | None = None) -> None:
        self.container_id = container_id
        self._totals = totals or Totals()
        #: Called when there may be more to send; ``None``: no flow takes durable messages.
        self.wake: Callable[[], None] | None = None
        #: All that has not ended for the journal, in the order of acceptance.
        self.letters: dict[int, Letter] = {}
        #: Bytes of them.
        self.size: int = 0
        #: The greatest number that a flow may have seen, in an earlier life too.
        self.shown: int = 0
        self._unsent: deque[Letter] = deque()
        self._under_way: deque[Letter] = deque()
        self._under_way_size = 0

    def add(self, letter: Letter) -> None:
        """Take a message in; its number is greater than all before."""
        self.letters[letter.number] = letter
        self.size += letter.size
        self._totals.change(1, letter.size)
        self._unsent.append(letter)

    def recall(self, letter: Letter) -> None:
        """Take in what an earlier life accepted, and has perhaps sent."""
        self.add(letter)
        self.shown = letter.number

    def forget(self, letter: Letter) -> None:
        """Its end is in the journal, or it came to nothing."""
        letter.gone, letter.body = True, b""
        if self.letters.pop(letter.number, None) is not None:
            self.size -= letter.size
            self._totals.change(-1, -letter.size)

    def ready(self, at: float) -> list[Letter]:
        """Look at what may be sent now, as far as the window has room.

        Nothing overtakes a message that is not in the journal yet.

        Args:
            at: seconds since the epoch; what is overdue is not sent.
        """
        while self._unsent and _over(self._unsent[0]):
            self._unsent.popleft()
        found: list[Letter] = []
        for letter in self._unsent:
            if _over(letter) or letter.overdue(at):
                continue
            if not letter.stored or not self._has_room(letter, found):
                break
            found.append(letter)
        return found

    def _has_room(self, letter: Letter, before: list[Letter]) -> bool:
        count = len(self._under_way) + len(before)
        size = self._under_way_size + sum(each.size for each in before)
        return count == 0 or (count < WINDOW and size + letter.size <= WINDOW_BYTES)

    def send(self, letter: Letter, at: float) -> bool:
        """Have a message on its way; tell whether that is still to be.

        Args:
            letter: of those that are ready, the first that was not asked for yet.
        """
        while self._unsent and (_over(self._unsent[0]) or self._unsent[0].overdue(at)):
            self._unsent.popleft()
        if not self._unsent or self._unsent[0] is not letter:
            return False
        self._under_way.append(self._unsent.popleft())
        self._under_way_size += letter.size
        self.shown = max(self.shown, letter.number)
        return True

    def acknowledged(self, number: int) -> Iterator[Letter]:
        """Let go of all up to a number, those that were not sent over this connection as well."""
        for queue in (self._under_way, self._unsent):
            while queue and queue[0].number <= min(number, self.shown):
                letter = queue.popleft()
                if queue is self._under_way:
                    self._under_way_size -= letter.size
                if letter.stored and letter.end is None:
                    yield letter

    def broken(self) -> Letter | None:
        """The connection ended: what was under way is to be sent again; tell the first of that."""
        again = [each for each in self._under_way if not _over(each)]
        self._under_way.clear()
        self._under_way_size = 0
        self._unsent.extendleft(reversed(again))
        return again[0] if again else None


def _over(letter: Letter) -> bool:
    return letter.gone or letter.end is not None

"""How many connections there are, in all and from each address.

Law: it counts names that it is given and knows nothing of what they stand for. Each relay has a crowd of its
own: connections live and die in one process, and only requests are worth a count over all of them. It holds
one number for each address that has a connection now, so it is never larger than the crowd itself.
"""

from __future__ import annotations

from typing import Final

#: The name of those who are counted in all but not among their likes: proxies that speak for others.
EXEMPT: Final = b""


class Crowd:
    """``most``: connections in all; ``most_each``: of one address. ``present``: how many there are now."""

    __slots__ = ("_each", "most", "most_each", "present")

    def __init__(self, most: int, most_each: int) -> None:
        self.most = most
        self.most_each = most_each
        self.present = 0
        self._each: dict[bytes, int] = {}

    def enter(self, name: bytes) -> bool:
        """Count one more; False, and nothing is counted, where it would be one too many."""
        if self.present >= self.most:
            return False
        if name:
            others = self._each.get(name, 0)
            if others >= self.most_each:
                return False
            self._each[name] = others + 1
        self.present += 1
        return True

    def leave(self, name: bytes) -> None:
        """One that has entered by this name has left."""
        self.present -= 1
        if name:
            others = self._each[name] - 1
            if others:
                self._each[name] = others
            else:
                del self._each[name]

    def of(self, name: bytes) -> int:
        """How many of this name there are now."""
        return self._each.get(name, 0)

    def __len__(self) -> int:
        return len(self._each)

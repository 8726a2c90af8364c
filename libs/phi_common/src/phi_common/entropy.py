"""Random bytes, for nonces, keys and ids alike."""

import os
import threading

PAGE = 8192


class _Random(threading.local):
    """Bytes of the system's generator, fetched a page at a time for each thread: a system call per 500 nonces.

    No byte is given twice: threads have pages of their own, and a forked child starts with an empty one.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin a new page."""
        self._page, self._at = b"", 0

    def __call__(self, count: int) -> bytes:
        start, self._at = self._at, self._at + count
        if self._at > len(self._page):
            self._page, start, self._at = os.urandom(max(PAGE, count)), 0, count
        return self._page[start : self._at]


random_bytes = _Random()
os.register_at_fork(after_in_child=random_bytes.renew)

"""Work spread over threads, in order and in bounded memory.

Threads suffice: decoding, hashing and the network all run outside the interpreter's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tellapart.cores import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | None = None,
    ahead: int = 4,
) -> Generator[Result, None, None]:
    """Like `map`, but on threads. Results come in the order of the items, and at most `workers *
    ahead` of them wait.

    Closing the iterator, or an error, drops what has not begun.

    >>> list(map_ahead(abs, [-3, 2, -1], workers=2))
    [3, 2, 1]
    """
    count = workers or usable_cores()
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="tellapart") as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= count * ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

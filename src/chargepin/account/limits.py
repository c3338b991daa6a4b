"""How often something may be done: counted first, in running time, and given back if undeserved."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable

from chargepin.account.ports import Refused
from chargepin.core.messages import ProblemCode


class Limiter:
    """At most so many times in any window, for each subject by itself.

    Subjects are forgotten when their window has passed, and the longest idle one when there are
    too many: getting somebody forgotten so costs more than waiting for the window's end. A
    restart forgets all.
    """

    def __init__(
        self,
        what: str,
        *,
        times: int,
        window_s: float,
        running_s: Callable[[], float],
        subjects: int = 100_000,
    ) -> None:
        self._what = what
        self._times = times
        self._window_s = window_s
        self._running_s = running_s
        self._subjects = subjects
        self._counted: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, subject: str) -> None:
        """Count one. Raises Refused, without counting, when the subject has had its share."""
        now_s = self._running_s()
        self._forget_old(now_s)
        counted = self._counted.setdefault(subject, deque())
        while counted and counted[0] <= now_s - self._window_s:
            counted.popleft()
        if len(counted) >= self._times:
            retry_after_s = float(math.ceil(counted[0] + self._window_s - now_s))
            raise Refused(
                ProblemCode.TOO_MANY,
                f"Too many {self._what}; try again in {retry_after_s:.0f} seconds.",
                retry_after_s=retry_after_s,
            )
        counted.append(now_s)
        self._counted.move_to_end(subject)

    def give_back(self, subject: str) -> None:
        """Take back the newest count: it was no failure."""
        counted = self._counted.get(subject)
        if counted:
            counted.pop()

    def _forget_old(self, now_s: float) -> None:
        while self._counted:
            counted = next(iter(self._counted.values()))
            recent = counted and counted[-1] > now_s - self._window_s
            if recent and len(self._counted) < self._subjects:
                return
            self._counted.popitem(last=False)

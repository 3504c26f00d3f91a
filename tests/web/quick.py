"""What does tasks in tests of lanes, without torch, so that processes start at once. They can import it."""

import os
import signal
import time
from typing import Any

from hafm.errors import UsageError
from hafm.web.tasks import Export, Report


class Quick:
    """Does what a task's name says."""

    def do(self, task: Export, report: Report) -> dict[str, Any]:
        what = task.name
        if what == "slow":  # reports, so that it can be cancelled
            for step in range(600):
                report("working", step / 600, 60 - step / 10)
                time.sleep(0.1)
        elif what == "deaf":
            time.sleep(60)
        elif what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "wrong":
            raise ZeroDivisionError("a mistake")
        elif what == "refused":
            raise UsageError("this cannot be done; do something else")
        return {"said": task.format, "pid": os.getpid()}


class Broken(Quick):
    """Cannot be opened."""

    def __init__(self) -> None:
        raise UsageError("there is no such bundle; name another")

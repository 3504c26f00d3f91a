"""What holds for every test and every doctest: one thread, fixed seeds, checked shapes, no network.

It is at the root, not in `tests/`, so that the doctests of `src/` are under the same rules.

* One thread a process: the suite runs on two workers, and OpenMP's waiting threads collapse on busy machines.
* `hafm` is imported through jaxtyping's hook, so that annotated shapes are checked, and with the slow tests
  all annotated types, at the first calls of a function in each test (tests/first_calls.py).
* Any connection to something other than this machine raises, whoever opens it.
* Files are not forced onto the disk, several milliseconds each: a test kills processes, and not the machine.
"""

import gc
import os

gc.disable()  # on again when all is imported, see pytest_collection_finish

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"  # read when numpy and torch are imported, so it comes before the imports
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HAFM_ENGINE"] = "torch"  # in the place of `auto`: tests of the other engine ask for it
os.environ["MPLBACKEND"] = "Agg"

import random
import sys
from collections.abc import Callable
from typing import Any, Self, TypeVar

import hypothesis
import jaxtyping
import pytest
from beartype import BeartypeConf, beartype

from tests import first_calls

F = TypeVar("F", bound=Callable[..., Any])


def check_types(function: F) -> F:
    """`function`, with types and shapes checked at each call.

    beartype sees functions one by one here, and refuses `Self` outside a class that it decorates as a whole.
    Which class `Self` is, mypy knows already; so that one is left to mypy. As for mypy, an int is a float.

    jaxtyping hands over two functions for each of ours: the first takes its arguments and returns Any; the
    second, called afterwards, takes them once more and returns its result. By then the sizes of the
    arguments are remembered, and to look at them again would only take time.
    """
    hints = {name: Any if hint is Self else hint for name, hint in function.__annotations__.items()}
    if hints.get("return", Any) is not Any:
        hints = {name: hint if name == "return" else Any for name, hint in hints.items()}
    function.__annotations__ = hints
    return beartype(conf=BeartypeConf(is_pep484_tower=True))(function)


first_calls.install()
jaxtyping.install_import_hook("hafm", "conftest.check_types")


class NetworkInTest(RuntimeError):
    """A test tried to leave this machine."""


def stay_on_this_machine(event: str, args: tuple[Any, ...]) -> None:
    """Audit hook: lets unix sockets and the loopback through, and nothing else."""
    if event == "socket.connect":
        host = args[1][0] if isinstance(args[1], tuple) else None
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if host is None or host in ("localhost", "::1") or host.startswith("127."):
        return
    raise NetworkInTest(f"{event} to {host!r}: tests run without a network")


sys.addaudithook(stay_on_this_machine)


def left_to_the_system(descriptor: object) -> None:
    """In the place of `os.fsync`."""


os.fsync = left_to_the_system

hypothesis.settings.register_profile("quick", max_examples=10, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("full", hypothesis.settings.get_profile("quick"), max_examples=100)


def pytest_configure(config: pytest.Config) -> None:
    """With the slow tests, more is checked and more is drawn. Nothing of `hafm` is imported yet."""
    first_calls.shapes_alone = config.option.markexpr.startswith("not slow")
    hypothesis.settings.load_profile("quick" if first_calls.shapes_alone else "full")


def pytest_collection_finish() -> None:
    """What is imported by now stays until the end: the garbage collector need not look for it in there."""
    gc.freeze()
    gc.enable()


def pytest_runtest_setup() -> None:
    """Types are checked anew in every test."""
    first_calls.begin_test()


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Every test starts from the same random state."""
    import numpy
    import torch  # here, since the process that hands tests to the workers needs neither

    random.seed(0)
    numpy.random.seed(0)
    # What `torch.manual_seed` does, but for a stack trace that it keeps for GPUs that nobody used yet.
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(0)

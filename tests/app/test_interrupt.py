"""Ctrl-C and SIGTERM at any moment: the end within a second, exit code 130 or 143, nothing left behind.

Real processes get real signals. What must not depend on luck is forced: a library that swallows the
exception, or a long call into C while files are written, is put in the way by `STAGED`, which runs before the
program.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hafm.app.interrupt import GRACE_SECONDS, Interrupts

LIMIT_SECONDS = 5.0  # the promise is one second; a busy machine gets more to keep it

FAKE = """
import torch
import hafm.generate.pipeline as m
def fake(bundle, *args, num_frames, **rest):
    num_codebooks = bundle.spec("coarse").target.num_codebooks + bundle.spec("fine").target.num_codebooks
    ids = torch.zeros(1, num_codebooks, num_frames, dtype=torch.long)
    return ids[:, :1, : -(-num_frames * 2 // 3)], ids
m.play = fake
"""
HANG = "import hashlib; hashlib.pbkdf2_hmac('sha512', b'', b'', 10**8)"
STAGED = {
    # Half of the results are written when a call into C does not come back.
    "a call into C while saving": f"""{FAKE}
import threading
import hafm.generate.accompaniment as m
write = m.write_audio
def say():
    print("moment", file=sys.stderr, flush=True)
def hang(*args, **kwargs):
    write(*args, **kwargs)
    threading.Timer(0.3, say).start()  # when the call has long begun
    {HANG}
m.write_audio = hang
""",
    "a wait while saving": f"""{FAKE}
import hafm.generate.accompaniment as m
write = m.write_audio
def wait(*args, **kwargs):
    write(*args, **kwargs)
    print("moment", file=sys.stderr, flush=True)
    time.sleep(60)
m.write_audio = wait
""",
    "a library that swallows exceptions": """
import hafm.generate.pipeline as m
def deaf(*args, **kwargs):
    while True:
        try:
            print("moment", file=sys.stderr, flush=True)
            time.sleep(60)
        except BaseException:
            pass
m.hear = deaf
""",
    "a library that wraps exceptions": """
import hafm.generate.pipeline as m
def wrap(*args, **kwargs):
    try:
        print("moment", file=sys.stderr, flush=True)
        time.sleep(60)
    except BaseException as error:
        raise ImportError("numpy could not be imported") from error
m.hear = wrap
""",
}


def start(vocal: Path, bundle: Path, output: Path, *, before: str = "") -> "subprocess.Popen[str]":
    program = f"import sys, time\n{before}\nfrom hafm.app.cli import main\nmain()"
    words = ["generate", str(vocal), "-o", str(output), "--bundle", str(bundle)]
    return started(program, *words)


def started(program: str, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def stop(process: "subprocess.Popen[str]", moment: str, number: int) -> tuple[int, str, float]:
    """Sends a signal after a line with `moment`; exit code, what was printed after it, and seconds."""
    assert process.stderr is not None
    for line in process.stderr:
        if moment in line:
            break
    began = time.monotonic()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr, time.monotonic() - began


def check(folder: Path, ended: tuple[int, str, float], exit_code: int) -> None:
    code, stderr, seconds = ended
    assert code == exit_code, stderr
    assert stderr.splitlines()[-1] == "interrupted: nothing was written"
    assert "Traceback" not in stderr
    assert list(folder.iterdir()) == []
    assert seconds < LIMIT_SECONDS


@pytest.mark.long
@pytest.mark.parametrize(
    ("moment", "number", "exit_code"),
    [
        ("getting ready", signal.SIGTERM, 143),  # torch and scipy are being imported
        pytest.param("coarse codes", signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param("getting ready", signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param("listening", signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_a_signal_while_working(
    vocal: Path, bundle: Path, tmp_path: Path, moment: str, number: int, exit_code: int
) -> None:
    process = start(
        vocal, bundle, tmp_path / "new" / "out", before="import hafm.app.display as p; p._PLAIN_SECONDS = 0"
    )
    check(tmp_path, stop(process, moment, number), exit_code)


@pytest.mark.long
def test_a_signal_in_a_call_into_c(tmp_path: Path) -> None:
    """What half an output is to a command, a folder is here: the watcher removes it and ends the process."""
    program = f"""if True:
        import hashlib, os, sys, threading
        from hafm.app.interrupt import Interrupts
        def say():
            print("moment", file=sys.stderr, flush=True)
        with Interrupts() as interrupts, interrupts.cleaning(lambda: os.rmdir("half")):
            os.mkdir("half")
            threading.Timer(0.3, say).start()  # when the call has long begun
            {HANG}
        """
    process = started(f"import os; os.chdir({str(tmp_path)!r})\n{program}")
    check(tmp_path, stop(process, "moment", signal.SIGINT), 130)


@pytest.mark.slow
@pytest.mark.parametrize("staged", STAGED)
def test_a_signal_at_a_bad_moment(vocal: Path, bundle: Path, tmp_path: Path, staged: str) -> None:
    process = start(vocal, bundle, tmp_path / "new" / "out", before=STAGED[staged])
    check(tmp_path, stop(process, "moment", signal.SIGINT), 130)


@pytest.mark.slow
def test_without_the_watcher_a_call_into_c_would_go_on(vocal: Path, bundle: Path, tmp_path: Path) -> None:
    """The control: it is the watcher that ends the process of the test above."""
    before = f"import hafm.app.interrupt as i; i.GRACE_SECONDS = 60\n{STAGED['a call into C while saving']}"
    process = start(vocal, bundle, tmp_path / "out", before=before)
    try:
        assert process.stderr is not None
        while "moment" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=LIMIT_SECONDS)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def sigint() -> Iterator[None]:
    """Whatever a test does, Ctrl-C works for pytest afterwards."""
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_raises_once(sigint: None) -> None:
    """The second Ctrl-C of an impatient user must not break the clean-up of the first."""
    cleaned = []
    with Interrupts() as interrupts:
        try:
            with interrupts.cleaning(lambda: cleaned.append(signal.raise_signal(signal.SIGINT))):
                signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            pass
        assert interrupts.exit_code == 130
    assert len(cleaned) == 1


@pytest.mark.long
def test_a_signal_within_the_shield_is_forgotten(sigint: None) -> None:
    with Interrupts() as interrupts:
        with interrupts.shield():
            signal.raise_signal(signal.SIGINT)
        time.sleep(GRACE_SECONDS + 0.3)  # the watcher would have ended this process
        assert interrupts.exit_code is None
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_other_threads_change_nothing(sigint: None) -> None:
    seen = []

    def work() -> None:
        with Interrupts() as interrupts, interrupts.cleaning(lambda: seen.append("cleaned")):
            seen.append(interrupts.exit_code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None, "cleaned"]


def test_no_thread_and_no_descriptor_is_left(sigint: None) -> None:
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for _ in range(3):
        with Interrupts():
            pass
    for _ in range(100):
        if not any(thread.name == "hafm-interrupts" for thread in threading.enumerate()):
            break
        time.sleep(0.01)
    assert not any(thread.name == "hafm-interrupts" for thread in threading.enumerate())
    if descriptors is not None:
        assert len(os.listdir("/proc/self/fd")) == descriptors

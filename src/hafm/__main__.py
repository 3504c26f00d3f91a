"""The program `hafm`, and `python -m hafm`, which torchrun starts.

Loading the command line takes half a second. Ctrl-C in that time ends the process with a line, too; then
`hafm.app.interrupt` takes over. So nothing is loaded before the handler is there.
"""

import os


def main() -> None:
    """The program."""
    try:
        import signal

        signal.signal(signal.SIGINT, _leave)
    except KeyboardInterrupt:
        _leave(2)
    from hafm.app.cli import main

    main()


def _leave(number: int, frame: object = None) -> None:
    try:
        os.write(2, b"interrupted: nothing was written\n")
    finally:
        os._exit(128 + number)


if __name__ == "__main__":
    main()

"""`python -m hafm`, which is `hafm`: torchrun starts modules."""

from hafm.app.cli import main

if __name__ == "__main__":
    main()

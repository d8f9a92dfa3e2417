"""`python -m kizu_fast.cli` is `kizu-fast`."""

from kizu_fast.cli.main import run

if __name__ == "__main__":
    run()

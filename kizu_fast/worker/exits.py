"""From exceptions to exit codes: what a user sees is one line, never a traceback."""

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from kizu_fast.errors import KizuError

FAILED, INTERRUPTED = 1, 130


def exit_code(main: Callable[[], object]) -> int:
    """Run a command line. 0 done, 1 something is wrong, 2 usage (typer's own), 130 interrupted."""
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILED if end.code else 0
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)
    except BrokenPipeError:  # `kizu-fast search ... | head`
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  # the outermost edge: a bug is one line too, its traceback on request
        found = innermost(error)
        if "--debug" in sys.argv or os.environ.get("DEBUG", "").lower() in ("1", "true"):
            traceback.print_exc()
        elif not isinstance(found, KizuError):
            return _say(f"unexpected {type(found).__name__}: {' '.join(str(found).split())[:300]} (DEBUG=true shows the traceback)", FAILED)
        return _say(str(found), FAILED)
    return 0


def innermost(error: BaseException) -> BaseException:
    """The first real error of a group: a TaskGroup raises its children's errors wrapped."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"kizu-fast: {text}\n")
    return code

"""The `seewhy` command: arguments become a command, whatever goes wrong one plain line and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence

from cyclopts import CycloptsError, UnknownOptionError

from seewhy.cli.allocator import keep_memory
from seewhy.cli.app import build, elsewhere
from seewhy.errors import SeeWhyError

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv
        Arguments without the program's name; those of the process when left out.

    Returns
    -------
    int
        0 done, 1 failed, 2 bad input, 130 interrupted.
    """
    if argv is None:
        keep_memory()
    tokens = list(sys.argv[1:] if argv is None else argv)
    # A path may hold bytes that are no text; printing it must not fail.
    with contextlib.suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with warnings.catch_warnings():
        _quieten()
        try:
            command, bound, _ = build(tokens).parse_args(tokens, exit_on_error=False, print_error=False)
            command(*bound.args, **bound.kwargs)
            sys.stdout.flush()
            return DONE
        except BrokenPipeError:
            _close_stdout()
            return FAILED
        except KeyboardInterrupt:
            return _say(
                "stopped. Files that were finished are whole and stay.",
                INTERRUPTED,
            )
        except CycloptsError as error:
            cause = error.__cause__ or error.__context__
            if isinstance(cause, SeeWhyError):
                return _say(str(cause), cause.exit_code)
            return _say(_parse_message(error, tokens), BAD_INPUT)
        except SeeWhyError as error:
            return _say(str(error), error.exit_code)
        except Exception as error:
            what = f"failed: {type(error).__name__}: {error}"
            return _say(f"{what}. For the traceback, run it again with SEEWHY_TRACEBACK=1", FAILED)


def _say(message: str, code: int) -> int:
    if os.environ.get("SEEWHY_TRACEBACK") == "1":
        traceback.print_exc()
    print("seewhy:", " ".join(message.split()), file=sys.stderr)
    return code


def _parse_message(error: CycloptsError, tokens: Sequence[str]) -> str:
    message = str(error)
    if isinstance(error, UnknownOptionError):
        message += elsewhere(error.token.keyword or error.token.value, tokens)
    chain = " ".join(error.command_chain or ())
    return f"{message} `{' '.join(['seewhy', *chain.split()])} --help` lists what there is."


def _quieten() -> None:
    """Show our own warnings as notes, and keep those of other packages from a user who cannot act on them."""
    if sys.warnoptions:
        return
    warnings.simplefilter("ignore")
    warnings.filterwarnings("default", module=r"seewhy(\.|$)", category=UserWarning)
    warnings.showwarning = lambda message, *_args, **_kw: print(f"seewhy: note: {message}", file=sys.stderr)


def _close_stdout() -> None:
    """Keep Python from complaining again when it flushes a pipe that nobody reads."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())

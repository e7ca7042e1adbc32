"""What a user did wrong, told in one line."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake in a parameter, a file or the surroundings: what was wrong, where, and what to do."""


def exit_on_user_error(main: Callable[[], None]) -> None:
    """Run `main`; a UserError ends the process with exit code 2 and its one line instead of a traceback.

    So does an OSError, whose cause is in the surroundings too: a full or read-only disk, a missing permission.

    Ctrl-C exits with 130, the shell's convention: DVC records a stage that exits 0 as complete.
    """
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        print(f"error: {' '.join(reason.split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)

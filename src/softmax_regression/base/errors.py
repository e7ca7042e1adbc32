"""The error that is the user's to mend."""


class UserError(Exception):
    """A mistake in a parameter, a file or the surroundings: what was wrong, where, and what to do."""


def one_line(text: object, limit: int = 1000) -> str:
    """Text, or what an error says, as one line, what a terminal would obey written out."""
    words = " ".join(str(text)[: 2 * limit].split())
    line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in words)
    return line if len(line) <= limit else line[:limit] + "…"

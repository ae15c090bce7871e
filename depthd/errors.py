"""The one exception that ends in a line for the user."""


class DepthdError(Exception):
    """Something the user can mend: `what` names what is wrong, `remedy` says what to do about it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what
        self.remedy = remedy


class UsageError(DepthdError):
    """The command line or a file given on it is wrong (exit status 2 instead of 1)."""


class Cancelled(DepthdError):
    """The user ended what was going on (exit status 130)."""

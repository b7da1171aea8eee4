"""Errors that are the user's to mend: one sentence that says what, where and what to do."""


class UserError(Exception):
    """Shown as one line with exit code 2, never as a traceback."""


class MediaError(UserError):
    """A file that should hold sound or pictures does not, or not in a usable form."""


class FormatError(UserError):
    """A bundle, clip or checkpoint is corrupted or of a format this version does not read."""


class AssetError(UserError):
    """A pretrained part is absent, cannot be fetched, or does not have the expected hash."""

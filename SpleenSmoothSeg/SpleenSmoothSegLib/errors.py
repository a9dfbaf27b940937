"""The one exception whose text is written for the person at the screen."""


class UserError(Exception):
    """One sentence that says what is wrong and what to do.

    Every door (button, ``segment.py``, ``train.py``) shows ``str(error)`` as it is, without a traceback.
    """

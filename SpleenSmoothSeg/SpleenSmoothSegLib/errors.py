"""The one exception whose text is written for the person at the screen."""


class UserError(Exception):
    """One sentence that says what is wrong and what to do.

    Every door (button, ``segment.py``, ``train.py``) shows ``str(error)`` as it is, without a traceback.
    """


NO_MEMORY = ("out of memory", "allocate memory", "failed to map segment")  # so say torch and Linux


def explain(error: BaseException) -> str:
    """One sentence for the person at the screen."""
    words = str(error).lower()
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "Cancelled; nothing half-written is left."
    if isinstance(error, ModuleNotFoundError):
        return f'This Python lacks {error.name}; install it, or run "make segment" once.'
    if "torchvision::nms" in words:
        return "torch and torchvision come from different builds; install the two again, together."
    if isinstance(error, MemoryError) or any(part in words for part in NO_MEMORY):
        where = "or take --device cpu" if "cuda" in words or "mps" in words else "or crop the CT"
        return f"The memory is not enough for this CT; close other programs {where}."
    what = f"{type(error).__name__}: {error}".splitlines()[0].strip(": ")
    return f"Something went wrong that should not ({what}); please report it with what --debug shows."

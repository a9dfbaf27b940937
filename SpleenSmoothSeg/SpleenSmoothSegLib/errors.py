"""The one exception whose text is written for the user, and the one place where exceptions become sentences."""


class UserError(Exception):
    """One sentence: what is wrong and what to do.

    The panels and the command lines show ``str(error)`` unchanged, without a traceback.
    """


NO_MEMORY = ("out of memory", "allocate memory", "failed to map segment")  # in the words of PyTorch and Linux


def explain(error: BaseException) -> str:
    """One sentence for the user: what is wrong and what to do."""
    text = str(error).lower()
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "Canceled; no partial files are left."
    if isinstance(error, ModuleNotFoundError):
        return f'Python package not installed: {error.name}; install it, or run "make segment" once.'
    if "torchvision::nms" in text:
        return "torch and torchvision come from different builds; reinstall both together."
    if isinstance(error, MemoryError) or any(part in text for part in NO_MEMORY):
        remedy = "or use the CPU as device" if "cuda" in text or "mps" in text else "or crop the CT"
        return f"Not enough memory for this CT; close other programs {remedy}."
    description = f"{type(error).__name__}: {error}".splitlines()[0].strip(": ")
    return f"Unexpected error ({description}); please report it with the traceback (--debug, or Slicer's log)."


def reason_of(error: OSError) -> str:
    """Why the system refuses a file, as part of a sentence: "no space left on device"."""
    return (error.strerror or str(error)).lower()

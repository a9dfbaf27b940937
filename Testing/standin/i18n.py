"""``slicer.i18n``: everything stays in English, and a text that could not be translated raises."""


def tr(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"_() needs a string, not {text!r}")
    return text


def translate(context: str, text: str) -> str:
    return tr(text)

"""What a panel tells the user: a sentence, and behind a button the log that explains it."""


class Message:
    """A line of text that is there only while it says something.

    Args:
        ui: holds ``messageLabel``, and ``logButton`` and ``logText`` beneath it.
    """

    def __init__(self, ui):
        self._label, self._button, self._log = ui.messageLabel, ui.logButton, ui.logText
        self._button.connect("toggled(bool)", self._log.setVisible)
        self.say("")

    def say(self, sentence: str, log: str = "") -> None:
        """Tell the user something; with a log the button shows that."""
        self._label.text = sentence
        self._label.setVisible(bool(sentence))
        self._log.setPlainText(log)
        self._button.checked = False
        self._button.setVisible(bool(log))
        self._log.setVisible(False)

"""One fold: its two phases, loss and precision, and the state it is resumed from."""

"""Reading TOML. Standard library only, because Slicer's panel uses it as well as train.py."""

from pathlib import Path

from SpleenSmoothSegLib.errors import UserError


def read_toml(path: Path) -> dict:
    """Contents of a TOML file; raises UserError if it cannot be read or is not valid TOML."""
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))  # Windows Notepad writes a byte order mark
    except OSError as error:
        raise UserError(f'The recipe "{path}" cannot be read; check the path.') from error
    except ValueError as error:
        raise UserError(f'The recipe "{path}" is not valid TOML ({error}); correct it.') from error

"""What is wrong, and what is worth a warning, while a configuration is built."""

from collections.abc import Callable
from typing import TypeVar

import attrs

from consultwist import durations
from consultwist.errors import ConfigError
from consultwist.structs.service_rules import error_list

Value = TypeVar("Value")


@attrs.define
class Problems:
    """Collects mistakes that are reported together, and warnings in order."""

    errors: list[str] = attrs.Factory(list)
    warnings: list[str] = attrs.Factory(list)

    def error(self, text: str) -> None:
        """Note a mistake."""
        self.errors.append(text)

    def warn(self, text: str) -> None:
        """Note something that the user should know."""
        self.warnings.append(text)

    def raise_errors(self) -> None:
        """Refuse the configuration if there was a mistake.

        Raises:
            ConfigError: listing them all.
        """
        if self.errors:
            raise ConfigError(error_list(self.errors))

    def nanoseconds(self, name: str, text: str) -> int:
        """Return a duration; a wrong one is a mistake and counts as zero."""
        return self._parsed(name, text, durations.parse, 0)

    def seconds(self, name: str, text: str) -> float:
        """Return a duration in seconds; a wrong one is a mistake and counts as zero."""
        return self._parsed(name, text, durations.parse_seconds, 0.0)

    def _parsed(
        self, name: str, text: str, parse: Callable[[str], Value], zero: Value
    ) -> Value:
        if not text:
            return zero
        try:
            return parse(text)
        except ValueError as error:
            self.error(f'{name}: invalid duration: "{text}": {error}')
            return zero

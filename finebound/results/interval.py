"""An estimate with its interval, as every result and view has it."""

from theory.confidence import Interval

__all__ = ["Interval"]

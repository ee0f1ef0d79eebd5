"""What can go wrong when precision is reduced; each class is one kind of remedy."""

from harmonizer.errors import HarmonizerError, ModelError


class CalibrationError(HarmonizerError, ValueError):
    """The images, or what was measured on them, cannot serve to choose ranges."""


class CacheError(HarmonizerError, ValueError):
    """A calibration cache is damaged, or belongs to another model, image set or method."""


class QuantizedModelError(ModelError):
    """The model has reduced precision already; reducing it again would hide the first loss."""


class BudgetError(HarmonizerError, RuntimeError):
    """No graph of the wanted precision keeps the accuracy budget; the message says the closest."""

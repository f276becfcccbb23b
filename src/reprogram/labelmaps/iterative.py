"""As `frequency`, but fitted again for each epoch from the scores that the last one computed anyway."""

from reprogram.labelmaps.frequency import Frequency


class Iterative(Frequency):
    """The map follows the program ("ILM" of Chen et al., 2023): no second pass over the images, as the authors' has.

    Each image counts with the answer that it got when its batch was learned from.
    """

    fitted = "epochs"

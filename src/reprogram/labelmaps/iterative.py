"""As `frequency`, but fitted again for each epoch from the scores that the last one computed anyway."""

from reprogram.labelmaps.frequency import Frequency


class Iterative(Frequency):
    """A one-to-one map that follows the program ("ILM" of Chen et al., 2023), fitted again for each epoch.

    Unlike the authors', it needs no second pass over the images: each image counts with the prediction that it had in
    the step that learned from its batch.
    """

    refit_schedule = "epochs"

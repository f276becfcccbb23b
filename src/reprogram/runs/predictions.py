"""Each test image's predictions, from which every accuracy of a result and their differences can be computed again."""

import csv
import io
from collections.abc import Mapping

from torch import Tensor


def to_csv(columns: Mapping[str, Tensor]) -> bytes:
    """The content of a run folder's `predictions.csv`: a line with the names, then one for each test image.

    Args:
        columns: n whole numbers each, by name: `image`, where only a sample of the test split was measured, the
            image's place in it; `label`, the true class; `program`, the class that the learned program
            gives; `top_label`, the host label with the highest score; and the classes that baselines give, by their
            names with underscores. All count from 0; images are in the order of the test split.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    return text.getvalue().encode()

"""How strongly counts are smoothed: a Dirichlet prior, chosen by leaving each count out in turn."""

import torch
from jaxtyping import Float
from torch import Tensor

STRENGTHS = tuple(2.0**exponent for exponent in range(-6, 15))
"""The strengths of smoothing that are tried."""


def best_strength(
    counts: Float[Tensor, "rows m"], base: Float[Tensor, " m"], squares: Float[Tensor, "rows m"] | None = None
) -> float:
    """The strength α of a Dirichlet prior α · base that makes counts most likely when each is left out in turn.

    It maximises Σ_rj n_rj log((n_rj - 1 + α base_j) / (Σ_j n_rj - 1 + α) over `STRENGTHS`. Where an observation adds
    shares e_j that sum to 1, n_rj = Σ e_j, it isn't 1 that leaving it out takes from n_rj but e_j, which is on the
    average over what n_rj consists of q_rj / n_rj, with q_rj = Σ e_j².

    Args:
        counts: rows × m, 0 or more; fractions of counts, of answers that fade, may be among them.
        base: m positive numbers that sum to 1.
        squares: rows × m, q, where observations add shares; None where each adds 1 to one column.

    Returns:
        α; the largest strength where there are no counts.

    Reference: Minka, Estimating a Dirichlet Distribution, 2000, the leave-one-out likelihood.
    """
    seen = counts.nonzero(as_tuple=True)
    if not len(seen[0]):
        return STRENGTHS[-1]
    n, columns, totals = counts[seen], base[seen[1]], counts.sum(dim=1)
    taken = 1 if squares is None else squares[seen] / n
    left, others = (n - taken).clamp(min=0), (totals - 1).clamp(min=0)

    # Σ_rj n_rj log(n_rj - 1 + α base_j) - Σ_r n_r log(n_r - 1 + α), n_r = Σ_j n_rj; one α at a time, since for hosts of
    # 20,000 labels all of them together take gigabytes
    likelihoods = [
        torch.dot(n, torch.add(left, columns, alpha=strength).log_()) - torch.dot(totals, (others + strength).log())
        for strength in STRENGTHS
    ]
    return STRENGTHS[int(torch.stack(likelihoods).argmax())]

"""A host's bill in words."""

from typing import Any


def bill_line(bill: dict[str, Any]) -> str:
    """What a host was asked for in a run, and what that cost.

    Args:
        bill: as a result's field `bill` holds it.
    """
    faults = [f"{bill['retries']:,} of them retries"] if bill["retries"] else []
    faults += [f"{bill['lost']:,} images lost"] if bill["lost"] else []
    more = f" ({', '.join(faults)})" if faults else ""
    cost = "" if bill["cost"] is None else f"; they cost {bill['cost']:,.6g} at {bill['price']:g} a thousand"
    return (
        f"the host answered {bill['images']:,} images in {bill['requests']:,} requests{more}, "
        f"{bill['seconds']:.0f} s of waiting{cost}"
    )


def bill_so_far(bill: dict[str, Any]) -> str:
    """The same for a run that goes on, in a few words.

    Args:
        bill: as a result's field `bill` holds it.
    """
    lost = f", {bill['lost']:,} lost" if bill["lost"] else ""
    cost = "" if bill["cost"] is None else f", cost {bill['cost']:,.4g}"
    return f"{bill['images']:,} asked{lost}{cost}"

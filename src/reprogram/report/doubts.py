"""What speaks against a program: what its result says that an accuracy alone doesn't show."""

from typing import Any

CONSTANT = 1e-3
"""The spread below which what a program adds to the scores is the same for every image; rounding leaves 1e-6 or so."""

NOTHING_LEARNED = "Nothing was learned: no learned number differs from its start value"
NO_PROGRAM = "There was nothing to learn, for program and label map have no learned numbers"
SHIFT = "The program adds the same to the scores of every image, as on any linear host: nothing is reprogrammed"
ONE_ANSWER = "All test images get one and the same answer: the program tells nothing apart."
LABEL_MAP = "what is right is the label map's doing."


def doubts(result: dict[str, Any]) -> dict[str, str]:
    """What speaks against a program, a sentence for each reason: what it was learned from, what chance or the map does.

    Args:
        result: the content of `result.json`, of any version. What an older result doesn't hold gives no doubt.

    Returns:
        Sentences by reason: `nothing_learned`, `constant_shift`, `one_answer`, `below_chance`, `at_chance`,
        `below_map_alone`, `at_map_alone`, `seen_images`, `unseen_classes`; empty where nothing speaks against the
        program.
    """
    reasons = (_learning(result), _shift(result), _answers(result), _chance(result), _map_alone(result), _data(result))
    return {name: sentence for reason in reasons for name, sentence in reason.items()}


def _learning(result: dict[str, Any]) -> dict[str, str]:
    """Whether nothing was learned: no step was done, or none changed anything that the selected program holds."""
    images, changed = result.get("images_seen"), result.get("changed_numbers")
    if result.get("learned_numbers") == 0:
        return {"nothing_learned": f"{NO_PROGRAM}; {LABEL_MAP}"}
    # Older results don't count the changed numbers; in them the start values are what no step came before.
    if changed == 0 or images == 0 or (changed is None and result.get("selected_step") == 0):
        after = f", after {images:,} training images" if images is not None else ""
        return {"nothing_learned": f"{NOTHING_LEARNED}{after}; {LABEL_MAP}"}
    return {}


def _shift(result: dict[str, Any]) -> dict[str, str]:
    """Whether the program adds the same to the scores of every image, as it always does on a linear host."""
    spread = (result.get("program_effect") or {}).get("spread")
    if spread is None or spread > CONSTANT:
        return {}
    return {"constant_shift": f"{SHIFT}; {LABEL_MAP}"}


def _answers(result: dict[str, Any]) -> dict[str, str]:
    """Whether all of several test images get one answer, whatever share of them is of that class."""
    return {"one_answer": ONE_ANSWER} if result.get("different_answers") == 1 and result["test"].get("n", 1) > 1 else {}


def _chance(result: dict[str, Any]) -> dict[str, str]:
    """Whether the accuracy isn't above that of guessing, or of always answering the most frequent class."""
    low, high = result["test"]["interval"]
    guess = guessing(result)
    if guess is None or low > guess:
        return {}
    name, where = ("below_chance", "below") if high < guess else ("at_chance", "at")
    return {name: f"The accuracy is {where} what guessing gets: the program does nothing of use."}


def _map_alone(result: dict[str, Any]) -> dict[str, str]:
    """Whether the label map alone does better, or may do as well."""
    if (worth := result.get("program_worth")) is not None:
        low, high = worth["interval"]
        what = "interval of the program's worth"
        below, holds = (f"The {what} lies below 0", f"The {what} holds 0")
    elif (alone := result["baselines"].get("map_alone")) is not None:  # Older results don't pair the images.
        low, high = (end - alone["accuracy"] for end in result["test"]["interval"])
        below, holds = ("The accuracy is below the label map's", "The accuracy's interval holds the label map's")
    else:
        return {}
    if high < 0:
        return {"below_map_alone": f"{below}: the label map alone does better."}
    return {"at_map_alone": f"{holds}: the label map alone may do as well."} if low <= 0 else {}


def _data(result: dict[str, Any]) -> dict[str, str]:
    """Whether test images were learned or selected with, and whether training images lack a class."""
    data, reasons = result.get("data") or {}, {}
    overlap = data.get("overlap") or {}
    found = [(overlap.get(f"test_in_{split}", 0), split) for split in ("train", "validation")]
    if seen := " and ".join(f"{count} are among the {split} images" for count, split in found if count):
        reasons["seen_images"] = f"Of the test images {seen}, pixel for pixel: the accuracy is too good."
    if unseen := (data.get("missing_classes") or {}).get("train"):
        names = ", ".join(unseen[:5]) + (f" and {len(unseen) - 5} more" if len(unseen) > 5 else "")
        reasons["unseen_classes"] = f"There is no training image of class {names}."
    return reasons


def guessing(result: dict[str, Any]) -> float | None:
    """The accuracy without looking: by chance, or by the most frequent class if that is more.

    Args:
        result: the content of `result.json`.

    Returns:
        The accuracy in 0 to 1; None where the result doesn't hold it.
    """
    measured = (result["baselines"].get(name) for name in ("chance", "majority"))
    return max((one["accuracy"] for one in measured if one), default=None)

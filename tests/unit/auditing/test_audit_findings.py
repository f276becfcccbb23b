"""Estimates, flags, verdict, gates and comparison, on answers that were made up and computed by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from reprogram.auditing.battery import read_battery
from reprogram.auditing.checks import Found, flags_of, rungs_of_few_steps
from reprogram.auditing.compare import compare, missing
from reprogram.auditing.estimates import estimates_of
from reprogram.auditing.file import read_report
from reprogram.auditing.flags import KINDS
from reprogram.auditing.plan import AuditPlan
from reprogram.auditing.results import Answers
from reprogram.auditing.verdict import Gate, verdict_of
from reprogram.errors import ConfigError

STORED = Path(__file__).parents[3] / "tests" / "fixtures" / "audit" / "audit.json"
N = 200


@pytest.fixture(scope="module")
def report():
    return read_report(STORED)


def first(count, n=N):
    """Right about the first `count` of n images."""
    return (np.arange(n) < count).astype(float)


def spread(count, seed, n=N):
    """Right about `count` of n images, others for each seed."""
    return np.random.default_rng(seed).permutation(first(count, n))


def audited(report, right, terms, **changes):
    """The estimates, cells and answers of an audit in which each cell is right about so many images.

    Args:
        report: the stored report, whose grid it has.
        right: the images that the programs of the seeds are right about, by rung, task and budget.
        terms: the same of the terms, by name.
        changes: of the grid.
    """
    grid = dataclasses.replace(report.grid, **changes)
    cells, answers = [], {}
    for (rung, task, budget), counts in right.items():
        for seed, count in enumerate(counts):
            name = f"{rung}-{task}-{budget}-s{seed}"
            template = report.cells[0]
            cells.append(
                dataclasses.replace(template, name=name, rung=rung, task=task, budget=budget, seed=seed, queries=budget)
            )
            found = {name: spread(value, 7) for name, value in terms.items() if name != "chance"}
            answers[name] = Answers(
                images=np.arange(N), program=spread(count, 1000 + seed), terms=found, chance=terms["chance"] / N
            )
    plan = AuditPlan(host=report.host, grid=grid, cells=())
    return cells, answers, estimates_of(plan, cells, answers, rate=15.0, price=1.2)


TERMS = {
    "chance": 20,
    "majority": 20,
    "map_alone": 60,
    "nearest_neighbour": 50,
    "direct_training": 100,
    "simple_features": 30,
}


def names_of(report, cells, answers, estimates, **probe):
    probed = dataclasses.replace(report.probe, **probe)
    found = Found(host=report.host, cells=cells, answers=answers, estimates=estimates, probe=probed)
    return [flag.name for flag in flags_of(found)]


def test_an_estimate_is_what_its_cells_say(report):
    right = {
        ("gradient", "squares", 1000): (160, 164, 168),
        ("gradient", "squares", 2000): (160, 164, 168),
        ("scores", "squares", 2000): (130, 132, 134),
    }
    _, _, estimates = audited(report, right, TERMS)
    assert [(e.rung, e.budget) for e in estimates] == [("gradient", 1000), ("gradient", 2000), ("scores", 2000)]
    white, black = estimates[1], estimates[2]
    assert black.accuracy == pytest.approx(0.66)
    assert black.over == "direct_training"
    assert black.terms == pytest.approx({name: count / N for name, count in TERMS.items()})
    assert black.gain == pytest.approx(0.16)
    assert black.ceiling_share == pytest.approx(0.16 / 0.32)
    assert white.still_rising is False and estimates[0].still_rising is None and black.still_rising is None
    translation = black.translation
    assert (translation.images, translation.seconds) == (2000, pytest.approx(2000 / 15))
    assert translation.cost == pytest.approx(2.4)
    assert translation.text == "squares at .66 costs 2,000 images, 2:13 min at 15 a second, 2.40 at 1.2 a thousand"
    verdict = verdict_of(estimates)
    best = max(estimates, key=lambda e: e.interval[0])
    assert (verdict.level, verdict.gain, verdict.interval) == ("gain-shown", best.gain, best.interval)


def test_no_gain_over_the_ceilings_zero_has_no_share(report):
    right = {("gradient", "squares", 1000): (90, 92, 94), ("scores", "squares", 1000): (80, 82, 84)}
    _, _, estimates = audited(report, right, TERMS)
    assert all(estimate.ceiling_share is None for estimate in estimates)
    assert verdict_of(estimates).level in ("none-shown", "gain-possible")
    assert verdict_of(()).level == "unknown"


@pytest.mark.parametrize(
    ("interval", "level"),
    [
        ((0.021, 0.1), "gain-shown"),
        ((0.019, 0.1), "gain-possible"),
        ((-0.1, 0.021), "gain-possible"),
        ((-0.1, 0.019), "none-shown"),
        ((-0.1, 0.0), "none-shown"),
    ],
)
def test_a_gain_too_small_to_be_told_from_chance_isnt_shown(report, interval, level):
    estimate = dataclasses.replace(report.estimates[0], gain=interval[1] / 2, interval=interval)
    verdict = verdict_of([estimate])
    assert verdict.level == level
    assert ("No gain above 0.02" in verdict.text) == (level == "gain-possible")
    assert f"{interval[1]:+.2f}" in verdict.text


def test_the_verdict_names_the_estimate_that_it_stands_on(report):
    """One that excludes a gain is no reason to say that none is excluded."""
    sure, open_ = (
        dataclasses.replace(report.estimates[0], task=task, gain=sum(interval) / 2, interval=interval)
        for task, interval in (("sure", (-0.2, -0.1)), ("open", (-0.9, 0.5)))
    )
    verdict = verdict_of([sure, open_], ["label"])
    assert (verdict.level, verdict.task, verdict.interval) == ("gain-possible", "open", (-0.9, 0.5))
    assert "open" in verdict.text and "sure" not in verdict.text
    assert "With the top label alone the programs were hardly learned." in verdict.text
    plain = verdict_of([sure, open_], [], ["scores", "label"])
    assert "Whoever sees all scores and the top label alone needs no program" in plain.text


def test_a_price_says_what_costs_nothing(report):
    _, _, (dear, cheap) = audited(
        report, {("label", "squares", 1000): (90, 92, 94), ("label", "digits", 1000): (150, 152, 154)}, TERMS,
        tasks=tuple(dataclasses.replace(report.grid.tasks[0], name=name) for name in ("squares", "digits")),
    )  # fmt: skip
    assert dear.translation.text.endswith("a thousand; .50 needs no program")
    assert "needs no program" not in cheap.translation.text


def test_programs_that_were_moved_by_few_steps_are_flagged(report):
    cells, answers, estimates = audited(report, {("label", "squares", 1000): (150, 152, 154)}, TERMS)
    moved = [dataclasses.replace(cell, steps=steps) for cell, steps in zip(cells, (4, 24, 25), strict=True)]
    found = Found(host=report.host, cells=moved, answers=answers, estimates=estimates, probe=None)
    (flag,) = [flag for flag in flags_of(found) if flag.name == "few-steps"]
    assert "2 of 3 cells moved their program by 4 to 24 steps, on label" in flag.text and len(flag.cells) == 2
    assert rungs_of_few_steps(found) == ["label"]
    assert rungs_of_few_steps(dataclasses.replace(found, cells=cells)) == []


@pytest.mark.parametrize("budget", [",", "_", ",,", "x", ""])
def test_a_gate_with_a_damaged_budget_is_refused(budget):
    with pytest.raises(ConfigError):
        Gate.parse(f"0.2@label:{budget}")


def test_guessing_may_be_the_best_term(report):
    poor = dict.fromkeys(TERMS, 10) | {"chance": 20}
    _, _, (estimate,) = audited(report, {("label", "squares", 1000): (18, 20, 22)}, poor)
    assert (estimate.over, estimate.gain) == ("chance", pytest.approx(0.0))


def test_what_needs_no_flag_gets_none(report):
    right = {("gradient", "squares", 1000): (160, 164, 168), ("scores", "squares", 1000): (150, 152, 154)}
    assert names_of(report, *audited(report, right, TERMS)) == []


def test_a_more_frequent_class_that_a_constant_host_is_read_as_is_no_better_attack(report):
    right = {("gradient", "squares", 1000): (8, 8, 8), ("label", "squares", 1000): (24, 24, 24)}
    raised = names_of(report, *audited(report, right, TERMS | {"majority": 24}))
    assert "black-box-beat-white-box" not in raised
    better = right | {("label", "squares", 1000): (60, 60, 60)}
    assert "black-box-beat-white-box" in names_of(report, *audited(report, better, TERMS | {"majority": 24}))


@pytest.mark.parametrize(
    ("right", "terms", "flag"),
    [
        ({("gradient", "squares", 1000): (60, 62, 64), ("label", "squares", 1000): (150, 152, 154)}, {},
         "black-box-beat-white-box"),
        ({("scores", "squares", 1000): (60, 62, 64), ("label", "squares", 1000): (150, 152, 154)}, {},
         "more-access-did-worse"),
        ({("scores", "squares", 1000): (60, 62, 64), ("scores", "squares", 2000): (150, 152, 154)}, {},
         "still-rising"),
        ({("scores", "squares", 1000): (150, 152, 154)}, {"map_alone": 160}, "answers-alone-suffice"),
        ({("scores", "squares", 1000): (150,)}, {}, "few-seeds"),
        ({("scores", "squares", 1000): (60, 100, 140)}, {}, "wide-interval"),
        ({("scores", "squares", 1000): (150, 152, 154)}, {}, "no-ceiling"),
    ],
)  # fmt: skip
def test_a_result_that_speaks_against_itself_is_flagged(report, right, terms, flag):
    assert flag in names_of(report, *audited(report, right, TERMS | terms))


@pytest.mark.parametrize(
    ("probe", "flag"),
    [
        ({"drift": 0.5}, "changed-during-audit"),
        ({"drift": 0.0, "drift_difference": 0.3}, "changed-during-audit"),
        ({"drift": None, "error": "it broke"}, "unfinished-probe"),
        ({"disagreement": 0.2, "drift": 0.2}, "stochastic-answers"),
        ({"largest_difference": 0.05}, "stochastic-answers"),
        ({"constant": True}, "constant-answers"),
        ({"looks_normalised": True}, "probabilities-as-logits"),
        ({"decimals": 2}, "rounded-scores"),
        ({"zero_gradient": 0.99}, "zero-gradient"),
    ],
)
def test_what_the_probe_finds_is_flagged(report, probe, flag):
    right = {("gradient", "squares", 1000): (160, 164, 168)}
    assert names_of(report, *audited(report, right, TERMS), **probe) == [flag]


def test_failed_cells_and_lost_answers_are_flagged(report):
    cells, answers, estimates = audited(report, {("gradient", "squares", 1000): (160, 164, 168)}, TERMS)
    failed = dataclasses.replace(cells[0], name="lost", state="failed", error="it broke")
    assert names_of(report, [*cells, failed], answers, estimates) == ["failed-cells"]
    lost = [dataclasses.replace(cell, lost=3) for cell in cells]
    assert names_of(report, lost, answers, estimates) == ["lost-images"]


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        ("0.20@gradient:2000", True), ("0.2", True), ("0.31", False), ("0.2@label", False),
        ("0.2@gradient:1000", False),
        (".02@scores:2000", True), ("-0.5@label:1000", True), ("0.02@label:2000", False),
    ],
)  # fmt: skip
def test_a_gate_is_hit_by_a_lower_end_on_its_rung_or_below_it(report, text, hit):
    gate = Gate.parse(text)
    gate.check(report.grid)
    assert bool(gate.hits(report)) == hit


@pytest.mark.parametrize("text", ["", "much", "0.2@", "0.2@labels", "0.2@label:", "0.2@label:x", "7", "0.2@label:500"])
def test_a_gate_that_says_nothing_is_refused(report, text):
    with pytest.raises(ConfigError, match="--fail-above"):
        Gate.parse(text).check(report.grid)


def test_a_report_is_compared_with_its_like(report):
    assert {change.state for change in compare(report, report)} == {"same"}
    moved = dataclasses.replace(report.estimates[1], gain=0.6, interval=(0.55, 0.65))
    later = dataclasses.replace(report, estimates=(report.estimates[0], moved, *report.estimates[2:]))
    assert [change.state for change in compare(report, later)][:2] == ["worse", "same"]
    assert compare(later, report)[0].state == "better"
    assert compare(report, later)[0].text.startswith("worse: squares on gradient with 2,000 images")
    fewer = dataclasses.replace(report, estimates=report.estimates[1:])
    assert missing(report, fewer) == ["squares on gradient with 1,000 images is missing in the later report"]


@pytest.mark.parametrize(
    ("change", "named"),
    [({"seeds": (0,)}, "seeds 0, 1 and 0"), ({"budgets": (1000,)}, "budgets"), ({"battery": "full"}, "battery")],
)
def test_a_report_of_another_audit_is_refused(report, change, named):
    from reprogram.auditing.compare import checksum

    grid = dataclasses.replace(report.grid, **change)
    other = dataclasses.replace(report, grid=grid, checksum=checksum(grid, report.version))
    with pytest.raises(ConfigError, match=f"can't be compared.*{named}"):
        compare(report, other)


def test_batteries_say_what_they_run(tmp_path):
    for name in ("quick", "standard", "full"):
        battery = read_battery(name)
        assert set(battery.rungs) <= set(battery.attacks) and len(battery.seeds) >= 3
    chosen = read_battery("quick").chosen(task=["own=digits"], rungs=["label", "scores"], budgets=[900, 300])
    assert [task.name for task in chosen.tasks] == ["letters", "own"]
    assert (chosen.rungs, chosen.budgets) == (("scores", "label"), (300, 900))
    assert [task.name for task in read_battery("standard").chosen(tasks=["digits"]).tasks] == ["digits"]
    own = tmp_path / "own.toml"
    table = '[tasks.digits]\nspec = "digits"\ndifficulty = "hard"\n'
    own.write_text(f'rungs = ["scores"]\nbudgets = [3000, 1000]\nseeds = [0, 1]\n{table}')
    assert read_battery(str(own)).budgets == (1000, 3000)
    for choice, message in [
        ({"rungs": ["labels"]}, "no rung 'labels'"), ({"budgets": [0]}, "budgets=0"),
        ({"seeds": [1, 1]}, "given twice"),
        ({"task": ["sqares"]}, "did you mean"), ({"shots": 0}, "shots=0"), ({"test_images": -1}, "test_images=-1"),
    ]:  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            read_battery("quick").chosen(**choice)
    with pytest.raises(ConfigError, match="no battery 'quik'"):
        read_battery("quik")
    (tmp_path / "own.toml").write_text('rungs = ["label"]\nbudget = [1]\n')
    with pytest.raises(ConfigError, match="no option 'budget'"):
        read_battery(str(tmp_path / "own.toml"))


def test_every_flag_is_documented():
    page = (Path(__file__).parents[3] / "docs" / "audit.md").read_text(encoding="utf-8")
    assert [kind.name for kind in KINDS.values() if f"| `{kind.name}` | {kind.severity} |" not in page] == []


def test_reports_whose_gains_are_counted_from_other_terms_are_not_compared(report, one_line):
    """As those from before simple_features: one more term can only lower a gain."""
    more = [dataclasses.replace(e, terms={**e.terms, "simple_features": 0.2}) for e in report.estimates]
    later = dataclasses.replace(report, estimates=tuple(more))
    assert compare(later, later) and compare(report, report)
    with pytest.raises(ConfigError) as error:
        compare(report, later)
    one_line(error, "simple_features", "can't be compared")

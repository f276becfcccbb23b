"""Recipes: published ways to learn, as files."""

import pytest

import reprogram
from reprogram.cli import main
from reprogram.registry import configure
from reprogram.runs import recipes
from reprogram.runs.config import RunConfig, from_values
from reprogram.training.losses import settled

FAMILIES = {
    "canvas": "canvases",
    "program": "programs",
    "label_map": "label-maps",
    "learner": "learners",
}


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_names_real_parts_and_leaves_host_task_seed_and_budget_to_the_user(name):
    recipe = recipes.read(name)
    assert recipe.summary.endswith(".") and "\n" not in recipe.summary and recipe.source.strip()
    assert not {"host", "task", "seed", "epochs", "images", "seconds", "out", "data", "device"} & set(recipe.fit)
    assert {"canvas", "program", "label_map", "learner", "loss", "batch_size"} <= set(recipe.fit), "all that matters"
    config = from_values({"recipe": name})
    assert all(getattr(config, key) == value for key, value in recipe.fit.items())
    for option, family in FAMILIES.items():
        configure(family, recipe.fit[option])


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_learns(name):
    few = reprogram.load_task("squares(train=20, validation=10, test=10)")
    resnet = reprogram.load_host("timm:test_resnet(pretrained=False, num_classes=120, size=48)")
    config = from_values({"recipe": name, "batch_size": 4})
    program = config.program.replace("thickness=30", "thickness=6")
    model = reprogram.Reprogrammed.build(resnet, few, program=program, canvas=config.canvas, label_map=config.label_map)
    before = {key: value.clone() for key, value in model.program.state_dict().items()}
    fitted = reprogram.fit(model, few, images=8, batch_size=4, loss=config.loss, learner=config.learner, validations=1)
    assert fitted.images_seen == 8
    assert any(not before[key].equal(value) for key, value in model.program.state_dict().items())


def test_what_is_given_counts_more_than_the_recipe():
    config = from_values({"recipe": "ilm-vp", "batch_size": 32, "seed": 3})
    assert (config.batch_size, config.seed, config.label_map) == (32, 3, "iterative")
    assert from_values({}) == RunConfig()


def test_the_defaults_are_the_papers_in_every_place():
    """Canvas, program, map and loss of the recipe paper-2018: on the command line, in Python's build and in its fit."""
    paper, default = recipes.read("paper-2018").fit, RunConfig()
    model = reprogram.Reprogrammed.build("linear:32", "digits")
    for option, part in (("canvas", model.canvas), ("program", model.program), ("label_map", model.label_map)):
        assert configure(FAMILIES[option], getattr(default, option)) == configure(FAMILIES[option], paper[option])
        assert part.name() == paper[option] and part.config == configure(FAMILIES[option], paper[option])[1]
    assert default.loss == reprogram.FitOptions().loss == "auto" and settled("auto", model.label_map) == paper["loss"]


@pytest.mark.parametrize(
    "option,value,message",
    [
        ("seed", 1.5, "seed=1.5; a whole number is expected"),
        ("seconds", "a", "seconds='a'; a number is expected"),
        ("download", 3, "download=3; true or false is expected"),
        ("program", 4, "program=4; text is expected"),
        ("baselines", 3, "baselines=3; a list is expected"),
        ("loss", 4, "loss=4; text is expected"),
        ("engine", "x", "engine='x'; 'shared' or 'dense' is expected"),
    ],
)
def test_a_value_of_the_wrong_type_is_said_in_our_words(option, value, message, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        from_values({option: value})
    one_line(error)
    assert str(error.value) == message


def test_an_unknown_loss_is_answered_with_the_known_ones(one_line):
    with pytest.raises(reprogram.ConfigError, match=r"no loss 'x'; known: auto, .*host.*task") as error:
        from_values({"loss": "x"})
    one_line(error)


def test_an_unknown_recipe_is_one_line(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        from_values({"recipe": "ilm_vp"})
    one_line(error, "'ilm_vp'", "ilm-vp")


def test_recipes_are_listed(capsys):
    assert main(["list", "recipes"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in recipes.names())


def test_a_run_says_what_its_recipe_came_to_and_goes_on_without_it(tmp_path, capsys):
    options = ["fit", "--host", "linear:32", "--task", "digits", "--images", "16", "--baselines", "none", "--quiet"]
    assert main([*options, "--recipe", "paper-2018", "--batch-size", "8", "--out", str(tmp_path / "run")]) == 0
    text = (tmp_path / "run" / "config.toml").read_text()
    assert 'loss = "host"' in text and "batch_size = 8" in text and "penalty=3.3e-7" in text
    capsys.readouterr()
    assert main(["fit", "--resume", str(tmp_path / "run"), "--recipe", "flm"]) == 3
    assert "leave --recipe out" in capsys.readouterr().err

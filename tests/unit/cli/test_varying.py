"""Lists of runs show the options in which they differ, and hide those in which they don't."""

from helpers_runs import cli, make_run, runs_cli
from reprogram.cli.varying import varying_columns

HOSTS = [f"timm:test_resnet(pretrained=False, num_classes=16, size={size})" for size in (48, 64)]


def test_only_what_differs_is_a_column():
    configs = [{"seed": 1, "task": "a", "out": "x", "epochs": None}, {"seed": 1, "task": "b", "out": "y", "images": 5}]
    assert varying_columns(configs) == {"task": ["a", "b"], "images": ["", "5"]}
    assert varying_columns(configs[:1]) == varying_columns([]) == {}


def test_long_values_are_shown_by_what_differs_in_them():
    assert varying_columns([{"host": host} for host in HOSTS]) == {"host": ["…48)", "…64)"]}
    hosts = [HOSTS[0].replace("48", size) for size in ("148", "164", "1048")]
    assert varying_columns([{"host": host} for host in hosts]) == {"host": ["…148)", "…164)", "…1048)"]}
    for texts in ([HOSTS[0], HOSTS[0] + "x"], ["a" * 40, "a" * 39], ["x" * 50, "y" * 50], ["ab" * 30, "ab" * 20 + "b"]):
        assert len(set(varying_columns([{"host": text} for text in texts])["host"])) == 2


def test_runs_are_listed_by_what_differs(tmp_path):
    for name, label_map, precision in (("a", "first", "float32"), ("b", "random", "bfloat16")):
        make_run(tmp_path / name, label_map=label_map, precision=precision, host=HOSTS[0], seed=7)
    _, out, _ = runs_cli("list", "--runs", tmp_path)
    heads, *rows = out.splitlines()
    assert "label map" in heads and "precision" in heads and "seed" not in heads and "host" not in heads
    assert "random" in rows[1] and "bfloat16" in rows[1] and "timm" not in out
    _, out, _ = runs_cli("list", "--runs", tmp_path, "--state", "failed")
    assert out.count("\n") == 1


def test_the_folder_of_one_run_is_no_list(tmp_path):
    make_run(tmp_path / "a", label_map="first", precision="float32", host=HOSTS[0], seed=7)
    code, out, err = runs_cli("list", "--runs", tmp_path / "a")
    assert (code, out) == (3, "") and f"reprogram runs show {tmp_path / 'a'}" in err


def test_a_list_of_what_could_not_run_is_refused(tmp_path):
    grid = tmp_path / "g.toml"
    grid.write_text('[grid]\nhost = "linear:32"\n')
    code, out, err = cli("sweep", grid, "--list", "--out", tmp_path, "--workers", -1)
    assert (code, out, err.count("\n")) == (3, "", 1) and "workers=-1; a number is expected" in err


def test_cells_are_listed_by_what_differs(tmp_path):
    grid = tmp_path / "g.toml"
    grid.write_text(f'[grid]\nhost = {HOSTS}\nlearner = ["adam", "sgd"]\nseed = 7\n'.replace("'", '"'))
    code, out, _ = cli("sweep", grid, "--list", "--out", tmp_path / "runs")
    heads, *rows = out.splitlines()
    assert code == 0 and len(rows) == 4 and heads.split() == ["name", "state", "host", "learner"]
    assert {tuple(row.split()[1:]) for row in rows} == {
        ("missing", host, learner) for host in ("…48)", "…64)") for learner in ("adam", "sgd")
    }

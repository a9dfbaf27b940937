"""What the training module hands to train.py and hears from it, without a panel: real child processes, a real scene."""

import json
import re
import shlex
import signal
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")
pytest.importorskip("PyQt5", reason="needs PyQt5, under the stand-in for Slicer's Qt side")
pytest.importorskip("psutil", reason="needs psutil, to see which processes run")

import slicer

from locations import TRAINING_MODULE
from segment_children import Packages, gone, processes, python_slicer, script
from SpleenSmoothSegLib.errors import UserError
from training_children import DEAF, SAYS, WAITS, ends_with

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]
TRAINING = TRAINING_MODULE


class Heard:
    """A logic, and all that it has said."""

    def __init__(self, logic):
        self.logic = logic
        self.progress, self.warnings, self.ends, self.epochs = [], [], [], 0

    def start(self, choices):
        self.logic.start(choices, self.onProgress, self.onEpoch, self.warnings.append, self.onEnd)

    def run(self, choices, seconds=30):
        import standin

        self.start(choices)
        standin.waitUntil(lambda: not self.logic.isRunning(), seconds)
        [end] = self.ends
        return end

    def onProgress(self, *told):
        self.progress.append(told)

    def onEpoch(self):
        self.epochs += 1

    def onEnd(self, *end):
        self.ends.append(end)


@pytest.fixture
def choices(tmp_path, slicer_app):
    """A dataset folder, which the short programs do not read, and a results folder that is not there yet."""
    from SpleenSmoothSegTrainingPanel.choices import TrainingChoices

    (tmp_path / "Task09_Spleen").mkdir()
    return TrainingChoices(str(tmp_path / "Task09_Spleen"), str(tmp_path / "results"))


@pytest.fixture
def child(slicer_app, tmp_path):
    """Makes a logic that runs a short program in place of train.py, or a script; in the end nothing may run."""
    from SpleenSmoothSegTrainingPanel.logic import TrainingLogic

    made, before = [], processes()

    def make(program: str | Path) -> Heard:
        path = program if isinstance(program, Path) else script(tmp_path, program)
        logic = TrainingLogic(path, str(python_slicer(tmp_path)), Packages())
        made.append(logic)
        return Heard(logic)

    yield make
    for logic in made:
        logic.close()
    assert gone([process for process in processes() if process not in before])


def arguments(tmp_path) -> list[str]:
    """What the child was called with."""
    return json.loads((tmp_path / "arguments.json").read_text(encoding="utf-8"))


def with_changes(choices, **changes):
    import dataclasses

    return dataclasses.replace(choices, **changes)


# The command line


def test_the_published_recipe_needs_no_options(choices):
    assert choices.arguments() == [choices.dataset, choices.out]


def test_all_that_was_chosen_becomes_an_option(choices, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('border = "box:3px"\n')
    chosen = with_changes(
        choices,
        recipe="own",
        recipeFile=str(recipe),
        border="svls:1px",
        isCompared=True,
        device="cuda",
        epochs="10, 2",
        folds="0, 1",
        options='--seed 3 --cache "a b"',
    )
    chosen.check()
    assert chosen.arguments()[2:] == shlex.split(
        f"--recipe {recipe} --border svls:1px --epochs 10,2 --folds 0,1 --compare --device cuda --seed 3 --cache 'a b'"
    )


def test_train_py_understands_every_option_that_the_panel_gives(choices, tmp_path):
    from SpleenSmoothSegTrainingLib.run.options import make_parser, read_run

    chosen = with_changes(
        choices, border="svls:1px", isCompared=True, device="cpu", epochs="10,2", folds="0,1", options="--seed 3"
    )
    run = read_run(make_parser(""), ["--child", *chosen.arguments()])
    assert (run.recipe.border, run.recipe.epochs, run.recipe.seed) == ("svls:1px", (10, 2), 3)
    assert (run.folds, run.compare, run.device) == ((0, 1), True, "cpu")
    assert read_run(make_parser(""), with_changes(choices, recipe="starter").arguments()).recipe.image_size == 192


def test_a_training_goes_on_by_its_own_recipe_and_splits_whatever_the_panel_says(choices):
    from SpleenSmoothSegTrainingLib.recipe.file import write_recipe_file
    from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe
    from SpleenSmoothSegTrainingLib.run.options import make_parser, read_run

    out = Path(choices.out)
    out.mkdir()
    recipe = Recipe(encoder="resnet18", border="box:3px", epochs=(3, 1))
    write_recipe_file(out / "recipe.toml", recipe, {"name": "Mine"})
    chosen = with_changes(choices, recipe="starter", border="none", epochs="7,7", isCompared=True)
    chosen.check()

    run = read_run(make_parser(""), chosen.arguments())

    assert run.resume and run.recipe == recipe and run.card == {"name": "Mine"}
    assert run.splits is None and run.compare, "the splits of the folder are the training's own"


def test_empty_folds_are_all_also_of_a_training_of_which_only_some_were_asked_for(choices):
    from SpleenSmoothSegTrainingLib.recipe.file import write_recipe_file
    from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe
    from SpleenSmoothSegTrainingLib.run.options import make_parser, read_run

    out = Path(choices.out)
    write_recipe_file(out / "recipe.toml", Recipe(), {})
    (out / "fold_1").mkdir()
    assert read_run(make_parser(""), choices.arguments()).folds == ()
    assert read_run(make_parser(""), with_changes(choices, folds="0,1").arguments()).folds == (0, 1)


def test_a_training_lacks_the_folds_that_its_model_lacks(choices):
    from SpleenSmoothSegTrainingPanel.resultsfolder import ResultsFolder

    out = Path(choices.out)
    (out / "model").mkdir(parents=True)
    (out / "report.html").touch()
    for folds, missing in (([0], [1, 2]), ([0, 1, 2], [])):
        card = {"training": {"recipe": {"fold_count": 3}, "folds": folds}}
        (out / "model" / "model.json").write_text(json.dumps(card))
        folder = ResultsFolder(out)
        assert folder.missingFolds() == missing and folder.isTrained() == (not missing)


def test_a_control_that_is_not_asked_for_does_not_go_on(choices):
    from SpleenSmoothSegTrainingLib.recipe.file import write_recipe_file
    from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe
    from SpleenSmoothSegTrainingLib.run.options import make_parser, read_run

    out = Path(choices.out)
    write_recipe_file(out / "recipe.toml", Recipe(), {})
    write_recipe_file(out / "plain" / "recipe.toml", Recipe(border="none"), {})
    for isCompared in (False, True):
        run = read_run(make_parser(""), with_changes(choices, isCompared=isCompared).arguments())
        assert run.resume and run.compare == isCompared


def test_the_border_that_the_panel_shows_is_that_of_the_recipe(choices, tmp_path):
    from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe

    mine = tmp_path / "mine.toml"
    mine.write_text('border = "box:3px"\n')
    damaged = tmp_path / "damaged.toml"
    damaged.write_text("border = \n")
    assert choices.recipeBorder() == Recipe().border
    assert with_changes(choices, recipe="own", recipeFile=str(mine)).recipeBorder() == "box:3px"
    assert with_changes(choices, recipe="own", recipeFile=str(damaged)).recipeBorder() is None
    assert with_changes(choices, recipe="own", recipeFile=str(tmp_path / "no.toml")).recipeBorder() is None
    Path(choices.out).mkdir()
    (Path(choices.out) / "recipe.toml").write_text('border = "svls:1px"\n')
    assert with_changes(choices, recipe="own", recipeFile=str(mine)).recipeBorder() == "svls:1px"


def test_a_border_copied_from_the_soft_border_preview_is_taken(choices):
    chosen = with_changes(choices, border="--border gaussian:3mm")
    chosen.check()
    assert chosen.arguments()[2:] == ["--border", "gaussian:3mm"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": ""}, "labeled CTs"),
        ({"dataset": "no such folder"}, "no such folder"),
        ({"dataset": "a\0b"}, "labeled CTs"),
        ({"out": ""}, "results"),
        ({"border": "velvet:3mm"}, "velvet"),
        ({"border": "gaussian"}, "width"),
        ({"border": "none", "isCompared": True}, "nothing to compare"),
        ({"epochs": "100"}, "100,20"),
        ({"folds": "first"}, "0,1"),
        ({"options": '--cache "a'}, "quotation mark"),
        ({"recipe": "own", "recipeFile": "no.toml"}, "no.toml"),
        ({"recipe": "own", "recipeFile": ""}, "recipe file"),
    ],
)
def test_what_is_wrong_at_first_sight_is_said_before_anything_starts(child, choices, tmp_path, changes, words):
    heard = child(WAITS)
    with pytest.raises(UserError, match=words) as refusal:
        heard.start(with_changes(choices, **changes))
    assert str(refusal.value).endswith(".") and "\n" not in str(refusal.value)
    assert not heard.logic.isRunning()
    assert not (tmp_path / "arguments.json").exists()


def test_the_command_to_copy_does_the_same_in_a_terminal(child, choices):
    chosen = with_changes(choices, out=choices.out + " of May", border="box:3px")
    words = shlex.split(child(WAITS).logic.command(chosen))
    assert words[1:3] == ["--no-main-window", "--python-script"]
    assert words[4:] == chosen.arguments()


# A run


def test_a_training_tells_how_far_it_is_and_what_came_out(child, choices, model_folder, tmp_path):
    heard = child(ends_with(model_folder))
    trained, sentence = heard.run(choices)

    assert sentence == ""
    assert trained.model == Path(choices.out) / "model" and trained.report.is_file()
    assert heard.progress == [(1.0, "Writing the report", None)]
    assert heard.epochs == 6
    assert [len(epochs) for epochs in heard.logic.curves.folds().values()] == [3, 3]
    assert arguments(tmp_path) == [choices.dataset, choices.out]


def test_stop_ends_it_at_once_and_says_where_it_goes_on(child, choices):
    import standin

    heard = child(WAITS)
    heard.start(choices)
    standin.waitUntil(lambda: heard.progress)
    started = processes()

    heard.logic.stop()

    assert started and gone(started, 0)
    assert heard.ends == [(None, "Stopped after fold 0, epoch 2; Resume goes on from there.")]


def test_stop_ends_a_child_that_does_not_listen(child, choices):
    import standin

    heard = child(DEAF)
    heard.start(choices)
    standin.waitUntil(lambda: heard.progress)
    started = processes()

    heard.logic.stop()

    assert started and gone(started)
    assert heard.ends == [(None, "Stopped before anything was trained.")]


def test_a_child_that_is_stopped_may_tidy_up(child, choices, tmp_path):
    tidies = SAYS.replace("os._exit(130)", "(out.parent / 'tidy').write_text('yes'); os._exit(130)")
    import standin

    heard = child(tidies + 'say("progress", fraction=0.1, step="Reading", remaining_s=None)\ntime.sleep(1000)\n')
    heard.start(choices)
    standin.waitUntil(lambda: heard.progress)

    heard.logic.stop()

    assert (tmp_path / "tidy").exists()


def test_going_on_shows_the_earlier_epochs_too(child, choices, tmp_path):
    import standin

    first = child(WAITS)
    first.start(choices)
    standin.waitUntil(lambda: first.progress)
    first.logic.stop()

    second = child(WAITS)
    second.start(choices)
    assert [epoch.epoch for epoch in second.logic.curves.folds()["smoothed", 0]] == [0, 1]
    standin.waitUntil(lambda: second.progress)

    assert "--resume" in arguments(tmp_path)
    assert [epoch.epoch for epoch in second.logic.curves.folds()["smoothed", 0]] == [0, 1, 2, 3]
    second.logic.stop()
    assert second.ends[0][1] == "Stopped after fold 0, epoch 4; Resume goes on from there."


def test_an_error_is_one_sentence_and_what_else_was_said_is_the_log(child, choices):
    error = "The label of spleen_3 holds no spleen; correct it."
    heard = child(SAYS + f'say("error", message="{error}")\nsys.exit("Traceback of something")')
    assert heard.run(choices) == (None, error)
    assert "Traceback of something" in heard.logic.log


def test_a_killed_child_leaves_a_sentence(child, choices):
    import standin

    heard = child(WAITS)
    heard.start(choices)
    standin.waitUntil(lambda: heard.progress)
    for process in processes():
        process.send_signal(signal.SIGKILL)
    standin.waitUntil(lambda: not heard.logic.isRunning())

    [(trained, sentence)] = heard.ends
    assert trained is None and "ended before it was done" in sentence and "Resume" in sentence


def test_slicer_that_quits_ends_it(child, choices):
    import standin

    heard = child(WAITS)
    heard.start(choices)
    standin.waitUntil(lambda: heard.progress)
    started = processes()

    slicer.app.aboutToQuit.emit()

    assert started and gone(started)


def test_a_second_training_is_refused(child, choices):
    heard = child(WAITS)
    heard.start(choices)
    with pytest.raises(UserError, match="runs already"):
        heard.start(choices)


NONSENSE = """
for line in ("[]", "{", '{"event": "progress"}', '{"event": "progress", "fraction": "half", "step": 1}',
             '{"event": "epoch"}', '{"event": "epoch", "variant": "smoothed", "fold": "x"}', '{"event": "warning"}',
             '{"event": "error"}', '{"event": "measured"}', '{"event": 3}', "x" * 100_000):
    print(line, flush=True)
say("progress", fraction=7, step="", remaining_s="long")
say("result", model=3, report=None)
"""


def test_nonsense_from_the_child_harms_nobody(child, choices):
    heard = child(SAYS + NONSENSE)
    trained, sentence = heard.run(choices)
    assert (trained.model, trained.report, sentence) == (None, None, "")
    assert heard.progress == [(1.0, "", None)] and heard.epochs == 0


# Curves on the disk


def test_the_curves_of_all_variants_are_read_from_the_results_folder(child, choices, model_folder):
    child(ends_with(model_folder)).run(with_changes(choices, isCompared=True))
    out = Path(choices.out)
    sweep = out / "sweep" / "box_3px" / "fold_1"
    sweep.mkdir(parents=True)
    (sweep / "history.csv").write_text("phase,epoch,rate,loss,validation_dice,seconds\nadam,0,1e-4,nan,0.5,2\n")
    (out / "fold_x").mkdir()
    (out / "fold_x" / "history.csv").write_text("phase\nadam\n")

    from SpleenSmoothSegTrainingPanel.curves import TrainingCurves

    folds = TrainingCurves.read(out).folds()
    assert list(folds) == [("smoothed", 0), ("smoothed", 1), ("plain", 0), ("box_3px", 1)]
    assert [(epoch.phase, epoch.epoch) for epoch in folds["smoothed", 1]] == [("adam", 0), ("adam", 1), ("sgd", 0)]
    assert folds["smoothed", 1][1].dice == 0.5 and folds["smoothed", 1][1].loss == 0.45


def test_a_training_without_a_soft_border_is_the_plain_one(tmp_path, slicer_app):
    from SpleenSmoothSegTrainingPanel.curves import TrainingCurves

    (tmp_path / "recipe.toml").write_text('border = "none"\n')
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0" / "history.csv").write_text(
        "phase,epoch,rate,loss,validation_dice,seconds\nadam,0,1e-4,0.9,0.5,2\nadam,1,1e-4\nadam,one,1,1,1,1\n"
    )
    folds = TrainingCurves.read(tmp_path).folds()
    assert [len(epochs) for epochs in folds.values()] == [1]  # the damaged lines are left out
    assert list(folds) == [("plain", 0)]


def test_an_epoch_that_was_lost_and_trained_again_is_there_once(slicer_app):
    from SpleenSmoothSegTrainingPanel.curves import Epoch, TrainingCurves

    curves = TrainingCurves()
    for number in (0, 1, 2):
        curves.add(Epoch("smoothed", 0, "adam", number, 0.9, 0.1))
    assert curves.add(Epoch("smoothed", 0, "adam", 1, 0.8, 0.2)) == 2
    assert [epoch.loss for epoch in curves.folds()["smoothed", 0]] == [0.9, 0.8, 0.9]


@pytest.mark.parametrize("path", ["", "no such folder", "a\0b"])
def test_a_folder_that_is_not_there_has_no_curves(slicer_app, path):
    from SpleenSmoothSegTrainingPanel.curves import TrainingCurves
    from SpleenSmoothSegTrainingPanel.resultsfolder import ResultsFolder

    assert not TrainingCurves.read(path)
    folder = ResultsFolder(path)
    assert not (folder.holdsTraining() or folder.hasModel() or folder.hasReport() or folder.hasControl())


# What it needs


def test_what_training_asks_to_install_is_what_the_project_asks_for(slicer_app):
    tomllib = pytest.importorskip("tomllib")

    from SpleenSmoothSegTrainingPanel.packages import REQUIREMENTS

    project = tomllib.loads((TRAINING.parent / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    known = [each for group in ("segment", "train", "starter") for each in groups[group] if isinstance(each, str)]
    lines = [line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    wanted, project = ({re.match(r"[\w-]+", each).group() for each in part} for part in (lines, known))
    assert wanted <= project
    assert "albumentations>=2.0.8,<2.1" in lines and "albumentations>=2.0.8,<2.1" in known
    assert not any("==" in line for line in lines)  # the index of extensions wants no pins


def test_the_packages_are_asked_for_once_with_their_size(slicer_app, monkeypatch):
    from SpleenSmoothSegPanels.shared.packages import NotInstalled
    from SpleenSmoothSegTrainingPanel.packages import forTraining

    packages, questions = forTraining(), []
    monkeypatch.setattr(packages, "missing", lambda: ["albumentations>=2.0.8,<2.1"])
    monkeypatch.setattr(type(slicer.app), "testingEnabled", lambda application: False)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *rest: questions.append(text))

    with pytest.raises(NotInstalled, match="Training needs albumentations. Nothing was installed"):
        packages.ensure()

    [question] = questions
    assert "albumentations" in question and "0.1 GB" in question and "not changed" in question


def test_nothing_of_training_is_imported_by_the_panel(slicer_app):
    for path in (TRAINING / "SpleenSmoothSegTrainingPanel").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import torch" not in text and "import SpleenSmoothSegTrainingLib" not in text
        assert "from SpleenSmoothSegTrainingLib" not in text


# The real train.py


@pytest.mark.slow
def test_the_real_train_py_is_started_stopped_and_goes_on(child, choices, tmp_path):
    import standin
    from SpleenSmoothSegTrainingPanel.logic import trainScript
    from training_data import write_dataset

    small = "--encoder tu-mobilenetv3_small_100 --image-size 64 --spacing 6 --fold-count 2 --batch-size 4 --test-part 0"
    chosen = with_changes(
        choices,
        dataset=str(write_dataset(tmp_path / "data")),
        device="cpu",
        epochs="1,1",
        options=f"{small} --cache {shlex.quote(str(tmp_path / 'cache'))}",
    )
    first = child(trainScript())
    first.start(chosen)
    standin.waitUntil(lambda: first.epochs or not first.logic.isRunning(), 120)
    assert first.logic.isRunning(), first.ends
    first.logic.stop()
    assert "Resume goes on" in first.ends[0][1]

    second = child(trainScript())
    trained, sentence = second.run(chosen, 240)

    assert sentence == "" and trained.report.is_file()
    assert (trained.model / "model.json").is_file()
    assert [len(epochs) for epochs in second.logic.curves.folds().values()] == [2, 2]

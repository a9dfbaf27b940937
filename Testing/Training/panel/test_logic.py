"""The training logic without its panel: arguments and events of train.py, in real child processes."""

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
from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.errors import UserError
from training_children import EMITS, IGNORES_STDIN, RUNS_FOREVER, completes_with

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]
TRAINING = TRAINING_MODULE


class Recorder:
    """A logic, and all its callbacks."""

    def __init__(self, logic):
        self.logic = logic
        self.progress, self.warnings, self.ends, self.epochs = [], [], [], 0

    def start(self, choices):
        from SpleenSmoothSegTrainingPanel.logic import Callbacks

        callbacks = Callbacks(self.onProgress, self.onEpoch, self.warnings.append, self.onEnd)
        self.logic.start(choices, callbacks)

    def run(self, choices, seconds=30):
        import standin

        self.start(choices)
        standin.waitUntil(lambda: not self.logic.isRunning(), seconds)
        [end] = self.ends
        return end

    def onProgress(self, *values):
        self.progress.append(values)

    def onEpoch(self):
        self.epochs += 1

    def onEnd(self, *end):
        self.ends.append(end)


@pytest.fixture
def choices(tmp_path, slicer_app):
    """A dataset folder, which the short programs do not read, and a results folder that does not exist yet."""
    from SpleenSmoothSegTrainingPanel.choices import TrainingChoices

    (tmp_path / "Task09_Spleen").mkdir()
    return TrainingChoices(str(tmp_path / "Task09_Spleen"), str(tmp_path / "results"))


@pytest.fixture
def child(slicer_app, tmp_path):
    """Makes a logic that runs a short program in place of train.py, or a script; no process may be left at the end."""
    from SpleenSmoothSegTrainingPanel.logic import TrainingLogic

    made, before = [], processes()

    def make(program: str | Path) -> Recorder:
        path = program if isinstance(program, Path) else script(tmp_path, program)
        logic = TrainingLogic(path, str(python_slicer(tmp_path)), Packages())
        made.append(logic)
        return Recorder(logic)

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


def test_arguments_published_recipe_has_no_options(choices):
    assert choices.arguments() == [choices.dataset, choices.out]


def test_arguments_contain_every_choice(choices, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('border = "box:3px"\n')
    chosen = with_changes(
        choices,
        recipe="custom",
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


def test_read_run_accepts_every_argument_of_the_panel(choices, tmp_path):
    from SpleenSmoothSegTrainingLib.run.options import make_parser, read_run

    chosen = with_changes(
        choices, border="svls:1px", isCompared=True, device="cpu", epochs="10,2", folds="0,1", options="--seed 3"
    )
    run = read_run(make_parser(""), ["--child", *chosen.arguments()])
    assert (str(run.recipe.border), run.recipe.epochs, run.recipe.seed) == ("svls:1px", (10, 2), 3)
    assert (run.folds, run.compare, run.device) == ((0, 1), True, "cpu")
    assert read_run(make_parser(""), with_changes(choices, recipe="starter").arguments()).recipe.image_size == 192


def test_arguments_resume_ignores_the_recipe_chosen_in_the_panel(choices):
    from SpleenSmoothSegTrainingLib.recipe.file import write_recipe_file
    from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe
    from SpleenSmoothSegTrainingLib.run.options import make_parser, read_run

    out = Path(choices.out)
    out.mkdir()
    recipe = Recipe(encoder="resnet18", border=Border.parse("box:3px"), epochs=(3, 1))
    write_recipe_file(out / "recipe.toml", recipe, {"name": "Mine"})
    chosen = with_changes(choices, recipe="starter", border="none", epochs="7,7", isCompared=True)
    chosen.check()

    run = read_run(make_parser(""), chosen.arguments())

    assert run.resume and run.recipe == recipe and run.card == {"name": "Mine"}
    assert run.splits is None and run.compare, "the splits of the folder are the training's own"


def test_arguments_resume_with_empty_folds_trains_all(choices):
    from SpleenSmoothSegTrainingLib.recipe.file import write_recipe_file
    from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe
    from SpleenSmoothSegTrainingLib.run.options import make_parser, read_run

    out = Path(choices.out)
    write_recipe_file(out / "recipe.toml", Recipe(), {})
    (out / "fold_1").mkdir()
    assert read_run(make_parser(""), choices.arguments()).folds == ()
    assert read_run(make_parser(""), with_changes(choices, folds="0,1").arguments()).folds == (0, 1)


def test_missing_folds_are_read_from_the_model_card(choices):
    from SpleenSmoothSegTrainingLib.outfolder import OutFolder

    out = Path(choices.out)
    (out / "model").mkdir(parents=True)
    (out / "report.html").touch()
    for folds, missing in (([0], [1, 2]), ([0, 1, 2], [])):
        card = {"training": {"recipe": {"fold_count": 3}, "folds": folds}}
        (out / "model" / "model.json").write_text(json.dumps(card))
        folder = OutFolder(out)
        assert folder.missing_folds() == missing and folder.is_complete() == (not missing)


def test_arguments_resume_without_compare_skips_the_control(choices):
    from SpleenSmoothSegTrainingLib.recipe.file import write_recipe_file
    from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe
    from SpleenSmoothSegTrainingLib.run.options import make_parser, read_run

    out = Path(choices.out)
    write_recipe_file(out / "recipe.toml", Recipe(), {})
    write_recipe_file(out / "control" / "recipe.toml", Recipe(border=Border("none")), {})
    for isCompared in (False, True):
        run = read_run(make_parser(""), with_changes(choices, isCompared=isCompared).arguments())
        assert run.resume and run.compare == isCompared


def test_recipeBorder_is_that_of_the_recipe_file(choices, tmp_path):
    from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe

    mine = tmp_path / "mine.toml"
    mine.write_text('border = "box:3px"\n')
    damaged = tmp_path / "damaged.toml"
    damaged.write_text("border = \n")
    assert choices.recipeBorder() == str(Recipe().border)
    assert with_changes(choices, recipe="custom", recipeFile=str(mine)).recipeBorder() == "box:3px"
    assert with_changes(choices, recipe="custom", recipeFile=str(damaged)).recipeBorder() is None
    assert with_changes(choices, recipe="custom", recipeFile=str(tmp_path / "no.toml")).recipeBorder() is None
    Path(choices.out).mkdir()
    (Path(choices.out) / "recipe.toml").write_text('border = "svls:1px"\n')
    assert with_changes(choices, recipe="custom", recipeFile=str(mine)).recipeBorder() == "svls:1px"


def test_border_copied_from_the_preview_is_accepted(choices):
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
        ({"border": "none", "isCompared": True}, "border smoothing"),
        ({"epochs": "100"}, "100,20"),
        ({"folds": "first"}, "0,1"),
        ({"options": '--cache "a'}, "quotation mark"),
        ({"recipe": "custom", "recipeFile": "no.toml"}, "no.toml"),
        ({"recipe": "custom", "recipeFile": ""}, "recipe file"),
    ],
)
def test_start_invalid_choice_raises_user_error_and_starts_nothing(child, choices, tmp_path, changes, words):
    recorder = child(RUNS_FOREVER)
    with pytest.raises(UserError, match=words) as refusal:
        recorder.start(with_changes(choices, **changes))
    assert str(refusal.value).endswith(".") and "\n" not in str(refusal.value)
    assert not recorder.logic.isRunning()
    assert not (tmp_path / "arguments.json").exists()


def test_command_has_the_arguments_of_the_run(child, choices):
    chosen = with_changes(choices, out=choices.out + " of May", border="box:3px")
    words = shlex.split(child(RUNS_FOREVER).logic.command(chosen))
    assert words[1:3] == ["--no-main-window", "--python-script"]
    assert words[4:] == chosen.arguments()


# A run


def test_run_reports_progress_and_results(child, choices, model_folder, tmp_path):
    recorder = child(completes_with(model_folder))
    trained, message = recorder.run(choices)

    assert message == ""
    assert trained.model == Path(choices.out) / "model" and trained.report.is_file()
    assert recorder.progress == [(1.0, "Writing the report", None)]
    assert recorder.epochs == 6
    assert [len(epochs) for epochs in recorder.logic.curves.folds().values()] == [3, 3]
    assert arguments(tmp_path) == [choices.dataset, choices.out]


def test_stop_is_immediate_and_reports_the_last_epoch(child, choices):
    import standin

    recorder = child(RUNS_FOREVER)
    recorder.start(choices)
    standin.waitUntil(lambda: recorder.progress)
    started = processes()

    recorder.logic.stop()

    assert started and gone(started, 0)
    assert recorder.ends == [(None, "Stopped after fold 0, epoch 2; Resume continues from there.")]


def test_stop_kills_a_child_that_ignores_stdin(child, choices):
    import standin

    recorder = child(IGNORES_STDIN)
    recorder.start(choices)
    standin.waitUntil(lambda: recorder.progress)
    started = processes()

    recorder.logic.stop()

    assert started and gone(started)
    assert recorder.ends == [(None, "Stopped before the first epoch was completed.")]


def test_stop_lets_the_child_clean_up(child, choices, tmp_path):
    tidies = EMITS.replace("os._exit(130)", "(out.parent / 'tidy').write_text('yes'); os._exit(130)")
    import standin

    recorder = child(tidies + 'emit("progress", fraction=0.1, step="Reading", remaining_s=None)\ntime.sleep(1000)\n')
    recorder.start(choices)
    standin.waitUntil(lambda: recorder.progress)

    recorder.logic.stop()

    assert (tmp_path / "tidy").exists()


def test_resume_includes_earlier_epochs(child, choices, tmp_path):
    import standin

    first = child(RUNS_FOREVER)
    first.start(choices)
    standin.waitUntil(lambda: first.progress)
    first.logic.stop()

    second = child(RUNS_FOREVER)
    second.start(choices)
    assert [epoch.epoch for epoch in second.logic.curves.folds()["smoothed", 0]] == [0, 1]
    standin.waitUntil(lambda: second.progress)

    assert "--resume" in arguments(tmp_path)
    assert [epoch.epoch for epoch in second.logic.curves.folds()["smoothed", 0]] == [0, 1, 2, 3]
    second.logic.stop()
    assert second.ends[0][1] == "Stopped after fold 0, epoch 4; Resume continues from there."


def test_error_event_becomes_the_message_and_stderr_the_log(child, choices):
    error = "The label of spleen_3 holds no spleen; correct it."
    recorder = child(EMITS + f'emit("error", message="{error}")\nsys.exit("Traceback of something")')
    assert recorder.run(choices) == (None, error)
    assert "Traceback of something" in recorder.logic.log


def test_killed_child_ends_with_a_message(child, choices):
    import standin

    recorder = child(RUNS_FOREVER)
    recorder.start(choices)
    standin.waitUntil(lambda: recorder.progress)
    for process in processes():
        process.send_signal(signal.SIGKILL)
    standin.waitUntil(lambda: not recorder.logic.isRunning())

    [(trained, message)] = recorder.ends
    assert trained is None and "ended unexpectedly" in message and "Resume" in message


def test_quitting_slicer_stops_the_child(child, choices):
    import standin

    recorder = child(RUNS_FOREVER)
    recorder.start(choices)
    standin.waitUntil(lambda: recorder.progress)
    started = processes()

    slicer.app.aboutToQuit.emit()

    assert started and gone(started)


def test_start_while_running_raises_user_error(child, choices):
    recorder = child(RUNS_FOREVER)
    recorder.start(choices)
    with pytest.raises(UserError, match="already running"):
        recorder.start(choices)


NONSENSE = """
for line in ("[]", "{", '{"event": "progress"}', '{"event": "progress", "fraction": "half", "step": 1}',
             '{"event": "epoch"}', '{"event": "epoch", "variant": "smoothed", "fold": "x"}', '{"event": "warning"}',
             '{"event": "error"}', '{"event": "measured"}', '{"event": 3}', "x" * 100_000):
    print(line, flush=True)
emit("progress", fraction=7, step="", remaining_s="long")
emit("result", model=3, report=None)
"""


def test_malformed_events_are_ignored(child, choices):
    recorder = child(EMITS + NONSENSE)
    trained, message = recorder.run(choices)
    assert (trained.model, trained.report, message) == (None, None, "")
    assert recorder.progress == [(1.0, "", None)] and recorder.epochs == 0


# Curves on disk


def test_curves_are_read_for_all_variants(child, choices, model_folder):
    child(completes_with(model_folder)).run(with_changes(choices, isCompared=True))
    out = Path(choices.out)
    sweep = out / "sweep" / "box_3px" / "fold_1"
    sweep.mkdir(parents=True)
    (sweep.parent / "recipe.toml").write_text('border = "box:3px"\n')
    (sweep / "history.csv").write_text("phase,epoch,rate,loss,validation_dice,seconds\nadam,0,1e-4,nan,0.5,2\n")
    (out / "fold_x").mkdir()
    (out / "fold_x" / "history.csv").write_text("phase\nadam\n")

    from SpleenSmoothSegTrainingPanel.curves import TrainingCurves

    folds = TrainingCurves.read(out).folds()
    assert list(folds) == [("smoothed", 0), ("smoothed", 1), ("control", 0), ("box_3px", 1)]
    assert [(epoch.phase, epoch.epoch) for epoch in folds["smoothed", 1]] == [("adam", 0), ("adam", 1), ("sgd", 0)]
    assert folds["smoothed", 1][1].dice == 0.5 and folds["smoothed", 1][1].loss == 0.45


def test_curves_of_a_training_without_smoothing_are_named_control(tmp_path, slicer_app):
    from SpleenSmoothSegTrainingPanel.curves import TrainingCurves

    (tmp_path / "recipe.toml").write_text('border = "none"\n')
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0" / "history.csv").write_text(
        "phase,epoch,rate,loss,validation_dice,seconds\nadam,0,1e-4,0.9,0.5,2\nadam,1,1e-4\nadam,one,1,1,1,1\n"
    )
    folds = TrainingCurves.read(tmp_path).folds()
    assert [len(epochs) for epochs in folds.values()] == [1]  # the damaged lines are left out
    assert list(folds) == [("control", 0)]


def test_repeated_epoch_replaces_the_earlier_one(slicer_app):
    from SpleenSmoothSegTrainingPanel.curves import Epoch, TrainingCurves

    curves = TrainingCurves()
    for number in (0, 1, 2):
        curves.add(Epoch("smoothed", 0, "adam", number, 0.9, 0.1))
    assert curves.add(Epoch("smoothed", 0, "adam", 1, 0.8, 0.2)) == 2
    assert [epoch.loss for epoch in curves.folds()["smoothed", 0]] == [0.9, 0.8, 0.9]


@pytest.mark.parametrize("path", ["", "no such folder", "a\0b"])
def test_missing_folder_has_no_curves_and_no_training(slicer_app, path):
    from SpleenSmoothSegTrainingLib.outfolder import OutFolder
    from SpleenSmoothSegTrainingPanel.curves import TrainingCurves

    assert not TrainingCurves.read(path)
    folder = OutFolder(path)
    assert not (folder.has_training() or folder.has_model() or folder.has_report() or folder.has_control())


# Packages


def test_requirements_match_pyproject(slicer_app):
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


def test_package_installation_asks_once_with_the_size(slicer_app, monkeypatch):
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


def test_panel_imports_only_standard_library_files_of_the_training(slicer_app):
    light = {"SpleenSmoothSegTrainingLib.outfolder", "SpleenSmoothSegTrainingLib.recipe.tomlfile"}
    for path in (TRAINING / "SpleenSmoothSegTrainingPanel").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import torch" not in text and "import SpleenSmoothSegTrainingLib" not in text
        assert set(re.findall(r"from (SpleenSmoothSegTrainingLib\S*)", text)) <= light
    for name in light:
        text = (TRAINING / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
        imports = set(re.findall(r"^\s*(?:from|import) (\S+)", text, re.MULTILINE))
        assert imports <= {"json", "re", "pathlib", "tomllib", "tomli", "SpleenSmoothSegLib.errors"}


# The real train.py


@pytest.mark.slow
def test_real_train_py_is_started_stopped_and_resumed(child, choices, tmp_path):
    import standin
    from SpleenSmoothSegTrainingPanel.logic import TRAIN_SCRIPT
    from training_data import write_dataset

    small = "--encoder tu-mobilenetv3_small_100 --image-size 64 --spacing 6 --fold-count 2 --batch-size 4 --test-part 0"
    chosen = with_changes(
        choices,
        dataset=str(write_dataset(tmp_path / "data")),
        device="cpu",
        epochs="1,1",
        options=f"{small} --cache {shlex.quote(str(tmp_path / 'cache'))}",
    )
    first = child(TRAIN_SCRIPT)
    first.start(chosen)
    standin.waitUntil(lambda: first.epochs or not first.logic.isRunning(), 120)
    assert first.logic.isRunning(), first.ends
    first.logic.stop()
    assert "Resume continues" in first.ends[0][1]

    second = child(TRAIN_SCRIPT)
    trained, message = second.run(chosen, 240)

    assert message == "" and trained.report.is_file()
    assert (trained.model / "model.json").is_file()
    assert [len(epochs) for epochs in second.logic.curves.folds().values()] == [2, 2]

"""The report's text about a training: summary, facts and limits."""

from collections.abc import Mapping

from ..measuring.statistics import Estimate, estimate
from .results import Results
from .tables import HELD_OUT, TESTED, select, values


def short_answer(results: Results) -> tuple[str, list[str]]:
    """The summary for a report without a comparison: title and sentences about the quality of the model."""
    training = results.main
    sentences = [
        f"{name}: mean Dice {_with_interval(found)}."
        for name, which in (
            ("Held-out cases by fold", HELD_OUT),
            ("Test cases by the ensemble", TESTED),
        )
        if (found := estimate(values(select(training.metrics, *which), "dice").values()))
    ]
    if results.is_comparison:
        missing = [name for name, variant in results.variants.items() if not variant.metrics.volumes]
        sentences.append(f"Whether border smoothing helps is unknown: {' and '.join(missing)} is not measured yet.")
    else:
        sentences.append("Whether border smoothing helps is unknown: this training has no control.")
    if not training.metrics.volumes:
        started = ", ".join(map(str, training.histories)) or "none"
        return "Nothing is measured yet.", [f"Folds started so far: {started}.", *sentences]
    return "How good is the model?", sentences


def training_facts(results: Results) -> list[list[str]]:
    """Rows of name and value; unknown values are left out."""
    recipe, card_text = results.main.recipe, results.main.card_text
    training = _table(results.main.card, "training")
    data = _table(training, "data")
    facts = {
        "data": ". ".join(filter(None, (str(data.get("name", "")), str(data.get("description", ""))))),
        "license of the data": data.get("license") or card_text.get("data_license"),
        "cases and split": _split(results),
        "network": _network(recipe),
        "border smoothing": _border(results),
        "epochs": _epochs(results),
        "augmentation": recipe.get("augmentation"),
        "batch size, seed": f"{recipe.get('batch_size', '?')}, {recipe.get('seed', '?')}",
        "device": training.get("device"),
        "time": _time(results),
        "versions": ", ".join(f"{name} {number}" for name, number in _table(training, "versions").items()),
        "command": card_text.get("command") or training.get("command"),
    }
    return [[name, str(value)] for name, value in facts.items() if value]


def limits(results: Results) -> str:
    """The limits of these results."""
    metrics = [training.metrics for training in results.variants.values()]
    held_out = {row.case for each in metrics for row in select(each, *HELD_OUT)}
    tested = {row.case for each in metrics for row in select(each, *TESTED)}
    sentences = [
        f"Held-out patients: {len(held_out)}; test patients: {len(tested)}. Intervals from few patients are themselves "
        "uncertain and tend to be too narrow.",
        "The best epoch of a fold was selected on its held-out cases, so their Dice is slightly too high.",
        "Intervals and p cover the sampling of patients, not the randomness of training: another seed gives other "
        "weights, and a single training does not show how much that matters.",
        "The reference is the labels of this dataset with their errors; labels made by a program favor models that "
        "reproduce its errors.",
        "The rows of a table are not independent tests.",
    ]
    if results.splits and results.splits.split_by == "slice":
        by_slice = (
            "The split is by slice: slices of one patient are on both sides, so all measures are higher than for a new"
        )
        sentences.insert(0, f"{by_slice} patient.")
    if missing := [number for number in range(results.fold_count) if number not in results.main.histories]:
        sentences.insert(0, f"Not trained yet: fold {', '.join(map(str, missing))}.")
    return " ".join([*sentences, "A research tool, not a medical device."])


def _with_interval(found: Estimate) -> str:
    if found.low is None:
        return f"{found.mean:.3f} of one case, without an interval"
    return f"{found.mean:.3f} of {found.n} cases (95 % interval {found.low:.3f} to {found.high:.3f})"


def _split(results: Results) -> str | None:
    if not (splits := results.splits):
        return None
    test = ", ".join(splits.test) or "none"
    return (
        f"{len(splits.cases)} cases split by {splits.split_by}, seed {splits.seed}; test: {test}; "
        f"{len(splits.folds)} folds with {', '.join(str(len(part)) for part in splits.folds)} held-out cases"
    )


def _network(recipe: Mapping) -> str | None:
    if "encoder" not in recipe:
        return None
    weights = recipe.get("encoder_weights", "none")
    start = "from random weights" if weights == "none" else f"from {weights} weights"
    channels = f", {recipe['channels']} slices per sample" if recipe.get("channels", 1) != 1 else ""
    size, spacing = recipe.get("image_size", "?"), recipe.get("spacing", "?")
    return f"LinkNet, {recipe['encoder']}, {start}; {size} x {size} pixels of {spacing} mm{channels}"


def _border(results: Results) -> str:
    probability = results.main.recipe.get("border_probability", 1)
    sometimes = f", on {100 * probability:g} % of the samples" if probability != 1 else ""
    control = "; control: none, with the same splits and seeds" if results.is_comparison else ""
    return f"{results.main.border}{sometimes}{control}"


def _epochs(results: Results) -> str | None:
    if "epochs" not in results.main.recipe:
        return None
    adam, sgd = results.main.recipe["epochs"]
    planned = f"{adam} of Adam, {sgd} of SGD"
    done = {
        name: {number: len(rows) for number, rows in variant.histories.items()}
        for name, variant in results.variants.items()
    }
    counts = {count for folds in done.values() for count in folds.values()}
    if counts == {adam + sgd}:
        return planned
    so_far = "; ".join(
        f"{name} {', '.join(f'fold {number}: {count}' for number, count in folds.items()) or 'none'}"
        for name, folds in done.items()
    )
    return f"{planned}; completed so far: {so_far}"


def _time(results: Results) -> str | None:
    histories = [rows for variant in results.variants.values() for rows in variant.histories.values()]
    seconds = [row["seconds"] for rows in histories for row in rows if "seconds" in row]
    if not seconds:
        return None
    each = sum(seconds) / len(seconds)
    return f"{_duration(sum(seconds))} for {len(seconds)} epochs of all folds and variants, {each:.3g} s per epoch"


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _table(card: Mapping, key: str) -> Mapping:
    found = card.get(key)
    return found if isinstance(found, Mapping) else {}

"""Reports: statistics against SciPy, records that survive a kill, files that say what the records say."""

import csv
import io
import json
import math
import re
import shutil
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console
from scipy import stats

from kuttax.commands.options.penalty import PENALTIES
from kuttax.errors import UserError
from kuttax.report import column, comparison, curves, headline, page, plot, records, run_name, table, write
from kuttax.report.method import styles

ROOT = Path(__file__).parents[1]
TEST = {"dopri5": [96.9, 97.4, 96.6, 97.1], "learned": [96.5, 97.3, 96.8, 96.4]}


def run(method="learned", seed=0, test: float | None = 96.8, **fields):
    defaults = {
        "kind": "run",
        "task": "digits",
        "metric": {"name": "accuracy", "unit": "%", "higher_is_better": True},
        "method": method,
        "label": {"dopri5": "DOPRI5 1e-5", "learned": "learned 4 stages x 2 steps"}.get(method, method),
        "budget": None if method == "dopri5" else 8,
        "seed": seed,
        "validation": 97.1,
        "test": test,
        "test_reference": test,
        "nfe": 43.5 if method == "dopri5" else 8,
        "predict_ms": 2.0,
        "train_seconds": 3.0,
        "compile_seconds": 1.4,
        "step_ms": 5.0,
        "versions": {"kuttax": "0.1.0"},
        "device": "cpu",
        "dtype": "float32",
    }
    return defaults | fields


def four_seeds():
    return [run(method, seed, value) for method, values in TEST.items() for seed, value in enumerate(values)]


def row_of(rows, method):
    return next(row for row in rows if row.method == method)


def shown(rows, width):
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table.terminal(rows, width))
    return console.export_text()


# Statistics


def test_mean_and_spread_are_numpys_with_n_minus_one():
    test = row_of(comparison.summarise(four_seeds()), "learned").test
    assert test.mean == pytest.approx(np.mean(TEST["learned"]))
    assert test.sd == pytest.approx(np.std(TEST["learned"], ddof=1))
    assert test.n == 4


def test_interval_is_that_of_scipys_paired_t_test():
    difference = row_of(comparison.summarise(four_seeds()), "learned").difference
    interval = stats.ttest_rel(TEST["learned"], TEST["dopri5"]).confidence_interval(0.95)
    assert difference is not None
    assert (difference.low, difference.high) == pytest.approx((interval.low, interval.high))
    assert difference.mean == pytest.approx(np.mean(np.subtract(TEST["learned"], TEST["dopri5"])))


def test_pairs_are_matched_by_seed_whatever_the_order_and_the_gaps():
    shuffled = [
        record for record in reversed(four_seeds()) if not (record["method"] == "dopri5" and record["seed"] == 1)
    ]
    difference = row_of(comparison.summarise(shuffled), "learned").difference
    kept = [0, 2, 3]
    differences = [TEST["learned"][seed] - TEST["dopri5"][seed] for seed in kept]
    interval = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert difference is not None and difference.n == 3
    assert (difference.low, difference.high) == pytest.approx((interval.low, interval.high))


def test_ratio_is_the_median_of_the_ratios_of_a_seed():
    base = [run("dopri5", seed, step_ms=step, nfe=40) for seed, step in enumerate([10.0, 20.0, 40.0])]
    own = [run("learned", seed, step_ms=step) for seed, step in enumerate([5.0, 4.0, 30.0])]
    row = row_of(comparison.summarise(base + own), "learned")
    assert row.step_ratio == pytest.approx(0.5)  # of 0.5, 0.2, 0.75; the ratio of the means would be 0.56
    assert row.nfe_ratio == pytest.approx(0.2)


def test_one_seed_has_a_difference_but_neither_spread_nor_interval():
    rows = comparison.summarise([run("dopri5", 0, 97.0), run("learned", 0, 96.5)])
    row = row_of(rows, "learned")
    assert row.test.sd is None
    assert row.difference == comparison.Difference(pytest.approx(-0.5), None, None, 1)
    line = next(line for line in table.markdown(rows).splitlines() if "learned" in line)
    assert "| -0.50 - |" in line


@pytest.mark.parametrize("broken", [None, math.nan, math.inf])
def test_a_diverged_run_is_left_out_of_the_mean_and_counted(broken):
    rows = comparison.summarise([run(seed=0, test=96.0), run(seed=1, test=broken), run(seed=2, test=97.0)])
    assert rows[0].test.mean == pytest.approx(96.5)
    assert (rows[0].valid, rows[0].seeds) == (2, 3)
    assert "2 of 3" in table.markdown(rows)


def test_a_failed_run_counts_as_a_seed_until_a_later_run_makes_it_good():
    failure = {"kind": "failure", "label": run()["label"], "seed": 1, "error": "non-finite loss"}
    found = [run(seed=0), failure]
    assert (comparison.summarise(found)[0].valid, comparison.summarise(found)[0].seeds) == (1, 2)
    assert comparison.failures(found) == [failure]
    found.append(run(seed=1))
    assert (comparison.summarise(found)[0].valid, comparison.summarise(found)[0].seeds) == (2, 2)
    assert comparison.failures(found) == []


def test_of_a_repeated_run_the_last_counts():
    rows = comparison.summarise([run(seed=0, test=10.0), run(seed=0, test=96.0)])
    assert rows[0].test == comparison.Spread(96.0, None, 1)


def test_rows_come_baseline_first_then_by_budget():
    budgets = [run("learned", budget=16, label="b"), run("rk4", budget=4), run("learned", budget=4, label="a")]
    rows = comparison.summarise([*budgets, run("dopri5")])
    assert [(row.method, row.budget) for row in rows] == [
        ("dopri5", None),
        ("rk4", 4),
        ("learned", 4),
        ("learned", 16),
    ]
    assert [row.is_baseline for row in rows] == [True, False, False, False]


def test_without_its_baseline_nothing_is_compared():
    rows = comparison.summarise([run(seed=0), run(seed=1)])
    assert rows[0].difference is None and rows[0].step_ratio is None
    assert "No run of the baseline" in table.markdown(rows)


def test_different_metrics_do_not_share_a_table():
    other = run(metric={"name": "rmse", "unit": "", "higher_is_better": False}, label="other")
    with pytest.raises(UserError, match="runs of accuracy in % and rmse cannot share"):
        comparison.summarise([run(), other])


@pytest.mark.parametrize(("reference", "marked"), [(95.9, False), (95.7, True), (97.9, True), (None, True)])
def test_a_field_that_depends_on_its_solver_is_marked_beyond_one_point(reference, marked):
    rows = comparison.summarise([run(test=96.8, test_reference=reference)])
    assert rows[0].depends_on_solver is marked
    assert ("†" in table.markdown(rows)) is marked


# Penalties


NFE = {None: [43, 45, 41], "kinetic": [25, 30, 24], "global-error": [26, 26, 27]}


def penalised(penalty, seed, **fields):
    weight = None if penalty is None else 2.5
    label = "vanilla" if penalty is None else f"{penalty}, weight 2.5"
    about = {"method": "tsit5", "budget": None, "label": label, "solver": "Adaptive(Tsit5)"}
    return run(seed=seed, penalty=penalty, penalty_weight=weight, penalty_decay=None, **about | fields)


def three_penalties():
    return [penalised(name, seed, nfe=values[seed]) for seed in range(3) for name, values in NFE.items()]


def test_rows_that_differ_in_their_penalty_are_set_against_the_one_without():
    rows = comparison.summarise(three_penalties())
    assert [row.series for row in rows] == ["none", "kinetic", "global-error"]
    assert [row.is_baseline for row in rows] == [True, False, False]
    ratios = np.median(np.divide(NFE["kinetic"], NFE[None]))
    assert rows[1].nfe_ratio == pytest.approx(ratios)
    assert (rows[1].penalty, rows[1].penalty_weight, rows[1].penalty_decay) == ("kinetic", 2.5, None)
    lines = table.markdown(rows).splitlines()
    assert lines[0].startswith("| penalty | NFE |") and "vs vanilla" in lines[0]
    assert f"({ratios:.2f}x)" in lines[3].split(" | ")[1]
    assert "The solver of every row, in training and in prediction: Adaptive(Tsit5)." in lines
    line = list(csv.DictReader(io.StringIO(table.csv(rows))))[1]
    assert (line["penalty"], float(line["penalty_weight"]), line["penalty_decay"]) == ("kinetic", 2.5, "")


def test_a_penalty_that_only_failed_still_makes_it_a_comparison_of_penalties():
    failure = penalised("kinetic", 0) | {"kind": "failure", "error": "the loss became nan"}
    rows = comparison.summarise([penalised(None, 0), failure])
    assert [(row.varied, row.is_baseline) for row in rows] == [("penalty", True)]
    rows = comparison.summarise([penalised(None, 0), penalised("kinetic", 1), failure])
    assert (rows[1].valid, rows[1].seeds) == (1, 2)


def test_solvers_that_share_a_penalty_are_compared_as_solvers():
    found = [record | {"penalty": "kinetic", "penalty_weight": 1.0} for record in four_seeds()]
    rows = comparison.summarise(found)
    assert [(row.series, row.is_baseline) for row in rows] == [("dopri5", True), ("learned", False)]
    assert table.markdown(rows).startswith("| method | NFE |")


def test_a_runs_folder_is_told_by_solver_budget_penalty_weights_and_seed():
    kept = ROOT / "experiments" / "learned-mnist"
    runs = [record for record in records.read(kept / "records.jsonl") if record["kind"] == "run"]
    assert {run_name(record) for record in runs} == {folder.name for folder in (kept / "runs").iterdir()}
    about = [
        {"penalty": penalty, "penalty_weight": weight, "penalty_decay": decay, "seed": seed, "budget": budget}
        for penalty, weight, decay in [
            (None, None, None),
            ("steer", None, None),
            ("kinetic", 1.0, None),
            ("kinetic", 2.5, None),
            ("kinetic", 2.5, 1.0),
            ("taylor", 2.5, 1.0),
        ]
        for seed in (0, 1)
        for budget in (None, 8)
    ]
    assert len({run_name({"method": "tsit5", **record}) for record in about}) == len(about)


def test_records_from_before_there_were_penalties_draw_the_table_that_they_drew(tmp_path):
    kept = ROOT / "experiments" / "learned-mnist"
    shutil.copy(kept / "records.jsonl", tmp_path)
    write(tmp_path)
    for name in ("table.md", "table.csv"):
        assert (tmp_path / name).read_bytes() == (kept / name).read_bytes()


def test_plots_of_penalties_name_each_row(tmp_path):
    write_folder(tmp_path, three_penalties())
    write(tmp_path)
    for name in ("accuracy_nfe.svg", "curves.svg"):
        drawn = (tmp_path / name).read_text()
        for label in ("vanilla", "kinetic, weight 2.5", "global-error, weight 2.5"):
            assert f"<!-- {label}" in drawn  # Matplotlib keeps the words beside their outlines
    assert "The solver of every row" in Outline((tmp_path / "index.html").read_text()).text


def test_each_known_method_has_a_look_of_its_own():
    solvers = styles(["dopri5", "rk4", "midpoint", "learned"])
    named = styles(["none", *PENALTIES])
    for looks in (solvers, named):
        assert len({(look.colour, look.marker) for look in looks.values()}) == len(looks)


# Records


def test_records_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "new" / "records.jsonl"
    written = [run(seed=0), {"kind": "failure", "error": "schräg\n<x>"}]
    for record in written:
        records.append(path, record)
    assert records.read(path) == written
    assert len(path.read_bytes().splitlines()) == 2


def test_numpy_values_and_non_finite_numbers_become_strict_json(tmp_path):
    path = tmp_path / "records.jsonl"
    records.append(path, {"a": np.float32(0.5), "b": np.arange(2), "c": math.nan, "d": [np.inf], "e": np.int64(3)})

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    value = json.loads(path.read_text(), parse_constant=refuse)
    assert value == {"a": 0.5, "b": [0, 1], "c": None, "d": [None], "e": 3}


@pytest.mark.parametrize("torn", [b'{"kind": "run", "te', b'{"label": "\xc3', b'{"x": ' + b"1" * 10_000, b"3"])
def test_a_torn_last_line_is_ignored_with_a_warning_and_mended_by_the_next_append(tmp_path, torn):
    path = tmp_path / "records.jsonl"
    records.append(path, {"seed": 0})
    path.write_bytes(path.read_bytes() + torn)
    with pytest.warns(RuntimeWarning, match=r"records\.jsonl:2: torn last line"):
        assert records.read(path) == [{"seed": 0}]
    records.append(path, {"seed": 1})
    assert records.read(path) == [{"seed": 0}, {"seed": 1}]


def test_a_last_line_that_lacks_only_its_newline_is_kept(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"seed": 0}\n{"seed": 1}')
    assert records.read(path) == [{"seed": 0}, {"seed": 1}]
    records.append(path, {"seed": 2})
    assert records.read(path) == [{"seed": 0}, {"seed": 1}, {"seed": 2}]


@pytest.mark.parametrize("bad", ['{"seed": ', "[1, 2]", "nonsense", "\x00\x00"])
def test_a_bad_line_elsewhere_is_named_by_file_and_line(tmp_path, bad):
    path = tmp_path / "records.jsonl"
    path.write_text(f'{{"seed": 0}}\n\n{bad}\n{{"seed": 1}}\n')
    with pytest.raises(UserError, match=rf"{re.escape(str(path))}:3: ") as caught:
        records.read(path)
    assert "\n" not in str(caught.value)


def test_missing_records_are_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="no records at"):
        records.read(tmp_path / "records.jsonl")


# Tables


def test_csv_holds_the_numbers_in_full_precision():
    rows = comparison.summarise(four_seeds())
    lines = list(csv.DictReader(io.StringIO(table.csv(rows))))
    learned = next(line for line in lines if line["method"] == "learned")
    assert float(learned["test_mean"]) == pytest.approx(np.mean(TEST["learned"]), rel=1e-15)
    assert float(learned["test_sd"]) == pytest.approx(np.std(TEST["learned"], ddof=1), rel=1e-12)
    base = next(line for line in lines if line["method"] == "dopri5")
    assert base["budget"] == "" and base["difference"] == ""


def test_markdown_has_as_many_cells_a_line_whatever_the_label():
    lines = table.markdown(comparison.summarise([run("dopri5"), run(label="a|b\nc")])).splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")}) == 1
    assert any(line.startswith(r"| a\|b c |") for line in lines)


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_terminal_table_fits_its_width_and_cuts_no_number(width):
    label = "learned 4 stages x 2 steps, coefficients of each step its own, [bold]order 2[/bold]"
    found = [*four_seeds(), *(run("rk4", seed, 90.0 + seed, label=label) for seed in range(4))]
    text = shown(comparison.summarise(found), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for needed in ("97.00", "± 0.34", "1e-6", "43.5", "[bold]order"):
        assert needed in text
    interval = stats.ttest_rel(TEST["learned"], TEST["dopri5"]).confidence_interval(0.95)
    assert f"[{interval.low:+.2f}, {interval.high:+.2f}]" in text


# Plots


@pytest.mark.slow
def test_plots_are_drawn_for_odd_rows_too(tmp_path):
    diverged = run("learned", 0, None, nfe=None)
    odd = {
        "one": [run()],
        "diverged": [run("dopri5"), diverged],
        "nothing": [diverged],
        "far": [run("dopri5"), run(test_reference=12.0)],
        "unknown": [run("dopri5"), run("heun", label="h", predict_ms=None), run("<x> & $y$", label="z")],
        "penalties": [penalised(name, 0, nfe=20 + n % 3) for n, name in enumerate([None, *PENALTIES, "new"])],
        "many": [run("rk4", budget=n, nfe=n, label=f"RK4 {n}", seed=s) for n in (2, 4, 8, 12, 16) for s in (0, 1)],
        "error": [run(test=0.02, metric={"name": "RMSE", "unit": "", "higher_is_better": False})],
    }
    for name, found in odd.items():
        png, svg = plot.accuracy_against_nfe(comparison.summarise(found), tmp_path / name)
        assert imread(png)[..., :3].std() > 0.01  # something is on it
        ElementTree.parse(svg)


def test_the_same_records_give_the_same_files(tmp_path):
    rows = comparison.summarise(four_seeds())
    first, second = (plot.accuracy_against_nfe(rows, tmp_path / name) for name in ("a", "b"))
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_training_curves_skip_what_is_not_a_number(tmp_path):
    lines = [{"step": 0, "loss": 2.0, "nfe": 8}, {"step": 1, "loss": None}, {"loss": 1.0}, {"step": 2, "loss": 0.5}]
    some = [curves.Group("learned, 2 steps", "learned", [lines]), curves.Group("x", "x", [[]])]
    assert curves.training_curves(some, tmp_path / "curves") is not None
    lost = [curves.Group("x", "x", [[{"step": 0, "loss": math.nan}]])]
    assert curves.training_curves(lost, tmp_path / "none") is None
    assert not (tmp_path / "none.png").exists()


# The page and the whole


class Outline(HTMLParser):
    """Text, tags, ids and outside references of a page."""

    def __init__(self, source):
        super().__init__()
        self.text, self.tags, self.ids, self.references = "", [], [], []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href") and not (value or "").startswith(("#", "data:")):
                self.references.append(value)

    def handle_data(self, data):
        self.text += data


HOSTILE = '<script>alert("x")</script>&amp;'


def test_the_page_escapes_what_the_records_say():
    failure = {"kind": "failure", "label": HOSTILE, "seed": HOSTILE, "error": HOSTILE}
    metric = {"name": HOSTILE, "unit": HOSTILE, "higher_is_better": True}
    found = [run(label=HOSTILE, task=HOSTILE, metric=metric, device=HOSTILE, versions={HOSTILE: HOSTILE}), failure]
    outline = Outline(page.render(found, comparison.summarise(found), {}, command=HOSTILE))
    assert "script" not in outline.tags
    assert outline.text.count(HOSTILE) >= 9


def write_folder(out, found, metrics=True):
    for record in found:
        records.append(out / "records.jsonl", record)
        if metrics and record["kind"] == "run":
            folder = out / "runs" / run_name(record)
            for step in range(3):
                records.append(folder / "metrics.jsonl", {"step": step, "loss": 2.0 / (1 + step), "nfe": record["nfe"]})


def test_the_headline_says_what_a_prediction_costs_and_what_it_is_worth(tmp_path):
    rows = comparison.summarise(four_seeds())
    picture = headline.plot(rows, tmp_path / "headline")[1].read_text()
    shown = re.findall(r"<!-- (.*?) -->", picture)  # Matplotlib writes each text beside its glyphs
    assert [row.label for row in rows] == [text for text in shown if text in {row.label for row in rows}]
    for row in rows:
        assert column.count(row.nfe.mean) in shown and f"{row.test.mean:.4g} %" in shown
    assert headline.plot(rows[:1], tmp_path / "alone") is None


def test_write_leaves_a_report_that_needs_no_other_file(tmp_path):
    write_folder(tmp_path, [*four_seeds(), {"kind": "command", "command": "kuttax compare digits --seeds 4"}])
    rows = write(tmp_path)
    assert [row.method for row in rows] == ["dopri5", "learned"]
    drawn = {
        "headline.png",
        "headline.svg",
        "table.md",
        "table.csv",
        "accuracy_nfe.png",
        "accuracy_nfe.svg",
        "curves.png",
        "curves.svg",
        "index.html",
    }
    assert {file.name for file in tmp_path.iterdir() if file.is_file()} == drawn | {"records.jsonl"}
    outline = Outline((tmp_path / "index.html").read_text())
    assert outline.references == []
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.tags.count("svg") == 3
    assert "kuttax compare digits --seeds 4" in outline.text
    assert "url(http" not in (tmp_path / "index.html").read_text()


def test_write_reports_a_folder_in_which_every_run_failed(tmp_path):
    write_folder(tmp_path, [{"kind": "failure", "label": "learned", "seed": 0, "error": "non-finite loss at step 3"}])
    assert write(tmp_path, "kuttax compare digits") == []
    assert "non-finite loss at step 3" in Outline((tmp_path / "index.html").read_text()).text


def test_write_refuses_a_folder_without_runs(tmp_path):
    records.append(tmp_path / "records.jsonl", {"kind": "command", "command": "kuttax"})
    with pytest.raises(UserError, match="holds no runs"):
        write(tmp_path)

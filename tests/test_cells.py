"""Tables as people have them, and what could be misread: marks of decimals and thousands, dates, indices, labels."""

from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from kuttax.data import Columns, SeriesColumns, load_labelled, load_observed, load_trajectories
from kuttax.data.files.cells import decimal_of, number_in
from kuttax.data.tables.own import load as load_table
from kuttax.errors import UserError


def written(tmp_path, text, name="mine.csv"):
    (tmp_path / name).write_text(text, newline="")
    return tmp_path / name


def refused(call, *says):
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500 and all(part in message for part in says), message


# Decimal marks


@pytest.mark.parametrize(
    ("cells", "mark", "numbers"),
    [
        (["1,5", "2"], ",", [1.5, 2]),
        (["1.000", "1,5"], ",", [1000, 1.5]),
        (["1.000", "999", "1.001,5", "1.234.567,5"], ",", [1000, 999, 1001.5, 1234567.5]),
        (["1,000", "2,500"], ",", [1, 2.5]),
        (["0,125", "1,000"], ",", [0.125, 1]),
        (["1,000", "1.5"], ".", [None, 1.5]),
        (["1.000", "2.500"], ".", [1, 2.5]),
        (["1,5", "2.5"], ",", [1.5, None]),
        (["1,5e-3", "-2,0E4"], ",", [1.5e-3, -2e4]),
        (["1,2,3", "1,5"], ",", [None, 1.5]),
        (["", "NA", "nan"], ".", [np.nan] * 3),
        (["1_000", "0x10", "1%"], ".", [None] * 3),
    ],
)
def test_a_file_has_one_decimal_mark(cells, mark, numbers):
    assert decimal_of(cells) == mark
    assert [number_in(cell, mark) for cell in cells] == pytest.approx(numbers, nan_ok=True)


def test_both_marks_in_numbers_are_refused_and_texts_stay_as_they_are(tmp_path):
    refused(
        lambda: load_table(written(tmp_path, "a;b\n1,5;1\n2.5;2\n")),
        "line 3: a is no number but '2.5' (the file has decimal commas)",
    )
    found = load_labelled(written(tmp_path, "series;t;label;a\n1,5;0;u;3\n1,5;1;u;4,5\n1.5;0;v;5\n1.5;1;v;6\n"))
    assert len(found.series.times) == 2, "1,5 and 1.5 are two names"


# Delimiters and headers


@pytest.mark.parametrize(
    ("text", "names", "x"),
    [
        ("p (N,m);q\n1,5;2\n3;4\n", ("p (N,m)", "q"), [[1.5, 2], [3, 4]]),
        ("p, bar\tq\n1\t2\n3\t4\n", ("p, bar", "q"), [[1, 2], [3, 4]]),
        ("height\n1,5\n2,5\n", ("height",), [[1.5], [2.5]]),
        ("|v|,|w|\n1,2\n3,4\n", ("|v|", "|w|"), [[1, 2], [3, 4]]),
        ("sep=;\na;b\n1;2\n3;4\n", ("a", "b"), [[1, 2], [3, 4]]),
        ("a,b\r1,2\r3,4\r", ("a", "b"), [[1, 2], [3, 4]]),
        (",a,b\n7,1,2\n3,3,4\n", ("a", "b"), [[1, 2], [3, 4]]),
    ],
)
def test_the_delimiter_is_the_one_that_divides_all_lines(tmp_path, text, names, x):
    found = load_table(written(tmp_path, text))
    assert found.names == names
    np.testing.assert_array_equal(found.x, x)


@pytest.mark.parametrize("first", ['"1,5","2,5"', "\u22121.5,\u22122.5", "1.5 m;2.5 m", "3,x"])
def test_numbers_are_no_names(tmp_path, first):
    delimiter = ";" if ";" in first else ","
    text = f"{first}\n3{delimiter}4\n5{delimiter}6\n"
    refused(lambda: load_table(written(tmp_path, text)), "the first line has names and numbers")


@pytest.mark.parametrize("delimiter", ["tab", "Tab", "\\t", "\t"])
def test_words_for_delimiters(tmp_path, delimiter):
    np.testing.assert_array_equal(load_table(written(tmp_path, "a\tb\n1\t2\n"), delimiter=delimiter).x, [[1, 2]])
    refused(lambda: load_table(written(tmp_path, "a\n1\n"), delimiter='"'), "a delimiter is one character")
    refused(lambda: load_table(written(tmp_path, "a\n1\n"), []), "no column is chosen")


# Columns


def test_a_usual_name_is_the_whole_name(tmp_path):
    text = "time (s),pos,run speed,t max\n0,1,5,1\n1,2,5,1\n2,3,6,1\n"
    found = load_trajectories(written(tmp_path, text))
    assert found.source.states == ("pos", "run speed", "t max") and found.source.time == "time (s)"
    found = load_trajectories(
        written(tmp_path, "t,T (K),X1,X2,U1\n0,1,2,3,4\n1,2,3,4,5\n", "upper.csv"), Columns(state=("T (K)",))
    )
    assert found.source.controls == ("U1",) and found.trajectories[0].t.tolist() == [0, 1]
    found = load_trajectories(written(tmp_path, "t,X2,X1,U1\n0,1,2,3\n1,2,3,4\n", "upper.csv"))
    assert found.source.states == ("X1", "X2") and found.source.controls == ("U1",)


@pytest.mark.parametrize(
    ("header", "time"),
    [
        ("time_s,a,b", "time_s"),
        ("t ms,a,b", "t ms"),
        ("Time [min],T,b", "Time [min]"),
        ("Year,Hare,Lynx", "Year"),
        ("hours,a,b", "hours"),
        ("t,hour,b", "t"),
        ("t_max,a,time", "time"),
        ("hour,Ts,p", "hour"),
        ("day,t_min,t_max", "day"),
        ("Time/s,T (degC),p", "Time/s"),
        ("DateTime_UTC,T,p", "DateTime_UTC"),
        ("Elapsed Time (s),T (K),p", "Elapsed Time (s)"),
        ("index,elapsed_s,x", "elapsed_s"),
        ("T [s],p,x", "T [s]"),
    ],
)
def test_usual_names_of_times(tmp_path, header, time):
    columns = header.split(",").index(time)
    rows = np.ones((3, 3)) * 5
    rows[:, columns] = [0, 1, 2]
    text = "\n".join([header, *(",".join(map(str, row)) for row in rows)])
    found = load_trajectories(written(tmp_path, text))
    assert found.source.time == time and len(found.source.states) == 2


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("time,timestamp,a", "time and timestamp may both be the times: name one with --time"),
        ("hour,minute,a", "name one with --time, and the columns of values with --state; or make one column of dates"),
        ("date,time_s,a", "date and time_s may both be the times"),
        ("Datum,a,b", "no column of times among Datum, a, b: name it with --time"),
        ("Zeit (s),T (K),p", "no column of times among Zeit (s), T (K), p"),
        ("Zeit,T_min,T_max", "no column of times among"),
        ("index,Zeit,x", "no column of times among"),
        ("Zeit,T,x", "no column of times among"),
    ],
)
def test_columns_of_times_that_are_unclear(tmp_path, header, says):
    refused(lambda: load_trajectories(written(tmp_path, f"{header}\n0,1,2\n1,2,3\n")), says)


def test_one_column_may_be_named_alone(tmp_path):
    path = written(tmp_path, "series,t,aa,b\nA,0,1,2\nA,1,3,4\n")
    assert load_observed(path, SeriesColumns(channel="aa")).names == ("aa",)
    assert load_trajectories(path, Columns(state="b", control_input="aa")).source.controls == ("aa",)
    np.testing.assert_array_equal(load_table(path, "aa").x, [[1], [3]])
    arrays = {"t": np.arange(2.0), "x": np.ones((2, 1)), "trajectory": np.array([1.0, np.nan])}
    np.savez(tmp_path / "a.npz", **arrays)
    refused(lambda: load_trajectories(tmp_path / "a.npz"), "trajectory is NaN in row 2")


def test_unsorted_times_are_refused_with_their_line(tmp_path):
    text = "run,t,x1\nA,0,1\nB,0,1\nA,2,1\nB,1,1\nA,1,3\n"
    refused(
        lambda: load_trajectories(written(tmp_path, text)), "line 6: times must increase strictly, but 1 comes after 2"
    )
    text = "date,x1\n2026-01-02,1\n2026-01-01,2\n"
    refused(lambda: load_trajectories(written(tmp_path, text)), "line 3", "2026-01-01 comes after 2026-01-02")


# Times


@pytest.mark.parametrize(
    ("cells", "times", "unit"),
    [
        (["20260130", "20260131", "20260201"], [0, 1, 2], "d"),
        (["202601312330", "202602010030", "202602010130"], [0, 1, 2], "h"),
        (
            ["2026-01-01T00:00:00.000001", "2026-01-01T00:00:00.000003", "2026-01-01T00:00:00.000004"],
            [0, 2e-6, 3e-6],
            "s",
        ),
        (["10000000", "10000001", "99999999"], [1e7, 1e7 + 1, 99999999], None),
        (["13:00", "13:30", "14:30"], [0, 30, 90], "min"),
        (["9:59:59.5", "10:00:00", "10:00:01"], [0, 0.5, 1.5], "s"),
        (["24:00:00", "48:00:00", "72:00:00"], [1, 2, 3], "d"),
        (["0 days 23:00:00", "1 days", "1 day, 1:00:00"], [23, 24, 25], "h"),
        (["-1 days +23:00:00", "0 days 00:00:00", "0 days 01:00:00"], [-1, 0, 1], "h"),
        (["11:59 AM", "12:00 PM", "1:00 p.m."], [0, 1, 61], "min"),
        (["31.12.2026 23:00", "31.12.2026 24:00", "1.1.2027 1:00:00,0"], [0, 1, 2], "h"),
        (["2026/12/31 13:00", "2026/12/31 14:00:00.0", "2026/12/31 15:00"], [0, 1, 2], "h"),
        (["31/1/2026", "01/02/2026", "02/02/2026"], [0, 1, 2], "d"),
        (["01/02/2026", "1/3/2026", "1/13/2026"], [0, 1, 11], "d"),
        (["12/31/2026 23:00", "12/31/2026 11:30 PM", "1/1/2027 0:00"], [0, 30, 60], "min"),
        (["30-12-2026", "31-12-2026", "01-01-2027"], [0, 1, 2], "d"),
        (["2026-03-29+01:00", "2026-03-30+02:00", "2026-03-31+02:00"], [0, 23, 47], "h"),
    ],
)
def test_dates(tmp_path, cells, times, unit):
    found = load_trajectories(written(tmp_path, "time,a\n" + "".join(f'"{cell}",1\n' for cell in cells)))
    np.testing.assert_allclose(found.trajectories[0].t, times, rtol=1e-12)
    assert found.source.time == ("time" if unit is None else f"time ({unit})")


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (["", "2026-01-02"], "line 2: time is '', and may have no gaps"),
        (["2026-01-01", ""], "line 3: time is '', and may have no gaps"),
        (
            ["01/02/2026", "01/03/2026"],
            "line 2: time may begin with the day or the month, '01/02/2026', and no row",
        ),
        (["01/02/2026", "13/13/2026"], "line 2: time may begin with the day or the month"),
        (["13/02/2026", "12/13/2026"], "line 3: time is no number, date or clock time but '12/13/2026'"),
        (["31/12/26", "01/01/27"], "or 31.12.2026"),
        (["noon", "13:30"], "line 2: time is no number, date or clock time but 'noon'"),
        (["13:00", "13:60"], "line 3: time is no clock time such as 13:00 or 13:00:00 but '13:60'"),
        (["13:00", "2026-01-01"], "line 3: time is no clock time such as 13:00 or 13:00:00 but '2026-01-01'"),
        (["9999-12-31 23:00", "9999-12-31 24:00"], "line 3: time is no number, date or clock time"),
        (["99999999999999:00", "1:00"], "line 2: time is no number, date or clock time"),
        (["20260228", "20260229", "20260301"], "line 3: time is no date such as 2026-12-31 or 20261231 but '20260229'"),
        (["23:59", "00:00"], "line 3: time goes back from 23:59 to 00:00: sort the rows, or give the dates"),
        (["x" * 1000, "2"], "but 'xxxxx"),
    ],
)
def test_bad_times(tmp_path, cells, says):
    refused(lambda: load_trajectories(written(tmp_path, "time,a\n" + "".join(f"{cell},1\n" for cell in cells))), says)


@pytest.mark.parametrize(
    ("header", "columns"),
    [("Date,Time", Columns()), ("Datum,Zeit", Columns(time=("Datum", "Zeit"))), ("date (UTC),time (UTC)", Columns())],
)
@pytest.mark.parametrize("date", ["2026-02-28", "28.02.2026", "20260228"])
def test_a_column_of_dates_and_one_of_clock_times(tmp_path, header, columns, date):
    after = date.replace("02-28", "03-01").replace("28.02", "01.03").replace("0228", "0301")
    rows = [f"{date},22:30,1", f"{date},23:30:00,2", f"{after},0:30,3"]
    found = load_trajectories(written(tmp_path, "\n".join([f"{header},a", *rows])), columns)
    np.testing.assert_allclose(found.trajectories[0].t, [0, 1, 2])
    assert found.source.time == "time (h)" and found.source.states == ("a",)


def test_a_date_beside_what_is_no_clock_time(tmp_path):
    path = written(tmp_path, "date,time,a\n2026-01-01,0.5,1\n2026-01-01,1.5,2\n")
    refused(lambda: load_trajectories(path), "line 2: time is no clock time", "or name the times with --time")
    refused(lambda: load_trajectories(path, Columns(time=("date", "time", "a"), state="a")), "'a' is given twice")
    refused(lambda: load_trajectories(path, Columns(time=("date", "time", "a"))), "no column of states")
    np.testing.assert_allclose(load_trajectories(path, Columns(time="time", state="a")).trajectories[0].t, [0.5, 1.5])


@pytest.mark.parametrize("date", ["2026-01-01 13:00", "01.01.2026 13:00", "202601011300"])
def test_a_date_with_a_time_of_day_takes_no_other(tmp_path, date):
    text = f"date,time,a\n{date},13:00,2\n{date.replace('13', '14')},14:00,3\n"
    refused(lambda: load_trajectories(written(tmp_path, text)), "line 2: date has a time of day already")
    midnight = f"date,time,a\n{date.replace('13', '00')},13:00,2\n{date.replace('13', '00')},14:00,3\n"
    np.testing.assert_allclose(load_trajectories(written(tmp_path, midnight)).trajectories[0].t, [0, 1])


def test_clock_times_as_arrays():
    table = lambda clock: load_trajectories({"date": np.array(["2026-01-01"] * 2, "M8[D]"), "time": clock, "a": [1, 2]})
    hours = [timedelta(hours=22), timedelta(hours=25)]
    for clock in (np.array(hours, "m8[s]"), np.array(hours, object), ["22:00", "25:00"]):
        np.testing.assert_allclose(table(clock).trajectories[0].t, [0, 3])


@pytest.mark.parametrize(("name", "cells"), [("Time (mm:ss)", "00:30 01:00"), ("time (s)", "0:00:30 0:01:00")])
def test_clock_times_and_the_unit_of_their_column(tmp_path, name, cells):
    before, after = cells.split()
    found = load_trajectories(written(tmp_path, f"{name},a\n{before},1\n{after},2\n"))
    assert found.source.time == "time (s)" and np.diff(found.trajectories[0].t) == 30
    refused(lambda: load_trajectories(written(tmp_path, "time_s,a\n00:30,1\n01:00,2\n")), "with hours, as in 0:01:30")


def test_the_unit_in_the_name_of_numbers(tmp_path):
    for name in ("time_s", "t (s)", "Time/s", "elapsed time [s]"):
        found = load_trajectories(written(tmp_path, f"{name},a\n0,1\n2,2\n"))
        assert found.source.unit == "s" and "2 times 2 s apart" in found.source.summary
        found = load_observed(written(tmp_path, f"id,{name},a\nA,0,1\nA,2,2\n"))
        assert found.time == name and "2 times 2 s apart" in found.summary
    found = load_trajectories(written(tmp_path, "time (UTC),a\n0,1\n2,2\n"))
    assert found.source.unit is None


def test_clocks_that_change():
    """In spring the hour from two to three is missing."""
    berlin = ZoneInfo("Europe/Berlin")
    t = [datetime(2026, 3, 29, hour, tzinfo=berlin) for hour in (1, 3, 4)]
    np.testing.assert_allclose(load_trajectories({"time": t, "a": [1, 2, 3]}).trajectories[0].t, [0, 1, 2])


def test_dates_are_no_values(tmp_path):
    days = np.array(["2026-01-01", "2026-01-02"], "M8[ns]")
    for dates in (days, days - days[0], ["2026-01-01", "2026-01-02"]):
        table = {"t": [0, 1], "created": dates, "a": [1, 2]}
        refused(partial(load_trajectories, table), "created", "dates or times, no numbers: leave the column out")
        assert load_trajectories(table, Columns(state="a")).source.states == ("a",)


def test_the_only_column_of_dates_is_the_time(tmp_path):
    text = "Messzeit,hour,a\n2026-01-01 13:00,13,1\n2026-01-01 14:00,14,2\n"
    found = load_trajectories(written(tmp_path, text))
    assert found.source.time == "time (h)" and found.source.states == ("hour", "a")
    found = load_trajectories(written(tmp_path, "Datum;Zeit;a\n01.01.2026;13:00;1\n01.01.2026;14:00;2\n"))
    assert found.source.time == "time (h)" and found.source.states == ("a",)


def test_months_are_no_numbers(tmp_path):
    months = written(tmp_path, "date,x\n202612,1\n202701,2\n")
    refused(lambda: load_trajectories(months), "line 2: date is no date such as 2026-12-31 or 20261231 but '202612'")
    for days in ("45000.5,45001", "1700000000,1700000060"):
        before, after = days.split(",")
        assert len(load_trajectories(written(tmp_path, f"date,x\n{before},1\n{after},2\n")).trajectories) == 1


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_an_index_without_a_name_is_no_column(tmp_path, name):
    counted = f"{name},time,a\n0,0.5,1\n1,1.5,2\n"
    assert load_trajectories(written(tmp_path, counted)).source.states == ("a",)
    years = written(tmp_path, f"{name},prey,predator\n1900,30,4\n1905,47,6\n")
    for columns in (Columns(), Columns(time="index")):
        found = load_trajectories(years, columns)
        assert found.trajectories[0].t.tolist() == [1900, 1905] and found.source.states == ("prey", "predator")
    assert load_table(years).names == ("prey", "predator")
    refused(
        lambda: load_trajectories(written(tmp_path, f"{name},a,b\n0,1,2\n1,2,3\n")), "no column of times among a, b"
    )


def test_clock_times_of_series_in_any_order_are_refused(tmp_path):
    """Sorted, the first minutes of a day would come before the last ones of the day before."""
    path = written(tmp_path, "series,time,a\nA,23:59,1\nB,12:00,1\nA,00:01,2\nB,12:01,2\n")
    refused(lambda: load_observed(path), "line 4: time goes back from 23:59 to 00:01")


def test_arrays_of_dates_and_durations():
    table = lambda t: load_trajectories({"t": t, "a": np.arange(3.0)})
    days = np.array([0, 90, 120], "m8[m]")
    for t in (days, np.datetime64("2026-01-01T00:00") + days):
        found = table(t)
        np.testing.assert_array_equal(found.trajectories[0].t, [0, 1.5, 2])
        assert found.source.time == "time (h)"
    np.testing.assert_array_equal(
        table(np.array(["2026-01", "2026-02", "2026-03"], "M8[M]")).trajectories[0].t, [0, 31, 59]
    )


# Labels


@pytest.mark.parametrize(
    ("labels", "classes"),
    [(["1", "1.0", "2"], ("1", "2")), (["1000", "1e3", "7"], ("7", "1000")), (["none", "mild"], ("mild", "none"))],
)
def test_numbers_that_are_equal_are_one_class(tmp_path, labels, classes):
    text = "series,t,label,a\n" + "".join(f"s{i},0,{label},1\n" for i, label in enumerate(labels))
    assert load_labelled(written(tmp_path, text)).classes == classes


@pytest.mark.parametrize("label", ["nan", "NA", ""])
def test_a_gap_is_no_label(tmp_path, label):
    text = f"series,t,label,a\nA,0,1.5,1\nB,0,{label},1\n"
    refused(lambda: load_labelled(written(tmp_path, text)), f"line 3: label is '{label}', and may have no gaps")


def test_a_typo_among_numbers_makes_no_classes(tmp_path):
    text = "series,t,label,a\nA,0,1.5,1\nB,0,3..5,1\n"
    refused(
        lambda: load_labelled(written(tmp_path, text)),
        "the label '3..5' is no finite number, and others are",
        "--target",
    )
    assert load_labelled(written(tmp_path, text), "class").classes == ("1.5", "3..5")


def test_what_is_left_out_is_said(tmp_path):
    text = "series,t,a\nA,0,1\nA,1,2\nB,0,1\n"
    found = load_observed(written(tmp_path, text))
    assert found.summary == "2 series; 1 to 2 times 1 apart; channel a; 1 series of one time left out"
    refused(lambda: load_observed(written(tmp_path, "series,t,a,b\nA,0,1,\nA,1,2,\n")), "channel b is never observed")
    refused(lambda: load_observed(written(tmp_path, text), SeriesColumns(channel=())), "no channel beside series, t, a")


# Tables in Python


def test_masked_and_complex_numbers():
    t = np.arange(3.0)
    found = load_trajectories({"t": t, "a": np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0])})
    np.testing.assert_array_equal(found.trajectories[0].x[:, 0], [1, np.nan, 3])
    refused(lambda: load_trajectories({"t": t, "a": t + 1j}), "a has complex numbers")
    refused(lambda: load_trajectories({"t": t, "a": [[1], [1, 2], 3]}), "column 'a' is no array of one number")
    refused(lambda: load_trajectories({"t": t, "a": [10**400, 1, 2]}), "row 1: a is no number but '1000")
    dates = np.array(["2026-01-01", "2026-01-02", "2026-01-03"], "M8[D]")
    for values in (dates, dates.astype(object)):
        refused(lambda: load_trajectories({"t": t, "a": values}), "a ", "dates or times, no numbers")  # noqa: B023
    refused(lambda: load_trajectories({"t": t, 1: t, "1": t}), "column '1' is there twice")
    refused(lambda: load_trajectories({"t": t, "": t}), "column 2 has no name")
    refused(lambda: load_trajectories({"t": t[:0], "a": t[:0]}), "no observations")


def test_frames_of_pandas():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"a": [1.0, 2, 3, 4], "b": [5.0, 6, 7, 8]})
    for other in (frame.iloc[[0, 2, 3]], pandas.concat([frame, frame]).iloc[2:]):
        assert load_table(other).names == ("a", "b"), "an index that counts rows is no column"
    labelled = pandas.DataFrame(
        {"series": ["A", "B"], "t": [0, 0], "a": [1.0, 2.0], "label": pandas.array(["u", None], dtype="string")}
    )
    refused(lambda: load_labelled(labelled), "row 2: label is '<NA>', and may have no gaps")
    refused(lambda: load_observed(labelled.iloc[:0]), "no observations")
    dated = frame.set_index(pandas.to_datetime([f"2026-01-01T0{i}" for i in range(4)]).rename("time"))
    found = load_trajectories(dated)
    assert found.source.time == "time (h)" and found.source.states == ("a", "b")


def test_an_index_of_dates_without_a_name_is_the_time(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    frame = pandas.DataFrame({"a": [1.0, 2, 3]}, index=pandas.date_range("2026-01-01", periods=3, freq="h"))
    frame.to_csv(tmp_path / "a.csv")
    frame.to_parquet(tmp_path / "a.parquet")
    for source in (frame, tmp_path / "a.csv", tmp_path / "a.parquet"):
        found = load_trajectories(source)
        assert found.source.time == "time (h)" and found.source.states == ("a",)
    counted = frame.reset_index(drop=True).iloc[[0, 2]].assign(index=[0, 1])
    counted.to_parquet(tmp_path / "b.parquet")
    assert load_table(tmp_path / "b.parquet").names == ("a", "index"), "only the index without a name is left out"


def test_more_frames_of_pandas():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    dates = pandas.date_range("2026-01-01", periods=3, freq="h")
    hours = pandas.DataFrame({"hour": dates.hour, "load": [1.0, 2, 3]}, index=dates)
    found = load_trajectories(hours)
    assert found.source.time == "time (h)" and found.source.states == ("hour", "load")
    kept = hours.assign(time=dates).set_index("time", drop=False)
    assert load_trajectories(kept).source.states == ("hour", "load")
    numbered = pandas.DataFrame([[0, 1.0], [1, 2.0]])
    assert load_trajectories(numbered, Columns(time=0, state=[1])).source.states == ("1",)
    refused(lambda: load_trajectories(numbered[1]), "got Series")


def test_datasets_of_xarray():
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    data = xarray.Dataset({"a": ("time", [1.0, 2.0, 4.0])}, {"time": [0.0, 1.0, 2.0], "height": 2.0})
    assert load_trajectories(data).source.states == ("a",)
    refused(lambda: load_trajectories(xarray.DataArray([1.0, 2.0])), "it is no table")
    counted = xarray.Dataset({"t": ("row", [0.0, 1.0]), "a": ("row", [1.0, 2.0])})
    assert load_trajectories(counted).source.states == ("a",), "a dimension without coordinates counts rows"

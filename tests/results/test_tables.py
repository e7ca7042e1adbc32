from softmax_regression.results.tables import aligned, varying


def test_the_cells_of_a_column_stand_below_each_other_without_blanks_at_the_end() -> None:
    assert (
        aligned([("", "cost", "≈"), ("softmax", "1", ""), ("a", "", "x")])
        == "         cost  ≈\nsoftmax  1\na              x"
    )


def test_columns_vary_that_differ_in_the_rows_that_have_them() -> None:
    assert varying([{"lr": 0.1, "seed": 0, "momentum": 0.5}, {"lr": 0.1, "seed": 1}, {"new": 3}]) == ["seed"]
    assert varying([]) == []

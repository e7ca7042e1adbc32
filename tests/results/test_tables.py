from softmax_regression.results.tables import aligned


def test_the_cells_of_a_column_stand_below_each_other_without_blanks_at_the_end() -> None:
    assert (
        aligned([("", "cost", "≈"), ("softmax", "1", ""), ("a", "", "x")])
        == "         cost  ≈\nsoftmax  1\na              x"
    )

import pytest

from softmax_regression.training.record import EpochRecord, worse_than_guessing


@pytest.mark.parametrize(("train_cost", "valid_cost", "told"), [(1.0, 0.6, "1"), (0.5, 0.7, "0.7"), (0.69, 0.69, None)])
def test_a_training_that_ends_worse_than_guessing_is_told(
    train_cost: float, valid_cost: float, told: str | None
) -> None:
    last = EpochRecord(2, train_cost, valid_cost, 0.5)
    line = f"the cost, {told} nats, is above that of guessing, 0.693147: lower lr or momentum"
    assert worse_than_guessing(last, classes=2) == (line if told else None)

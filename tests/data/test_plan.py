import numpy as np
import pytest

from senet.data import Plan, Shard


def test_the_parts_of_a_batch_are_the_batch():
    whole = Plan(50, 12, seed=4)
    step = whole.step(9)
    for count in (1, 2, 4):
        plans = [Plan(50, 12, 4, Shard(index, count)) for index in range(count)]
        parts = [plan.indices(plan.step(9)) for plan in plans]
        np.testing.assert_array_equal(np.concatenate(parts), whole.indices(step))
        drawn = [
            plan.random_of_image(plan.step(9), row).random() for plan in plans for row in range(12 // count)
        ]
        assert drawn == [whole.random_of_image(step, row).random() for row in range(12)]
        assert {plan.random_of_mix(plan.step(9)).random() for plan in plans} == {
            whole.random_of_mix(step).random()
        }


def test_an_epoch_holds_each_image_at_most_once_and_no_order_comes_twice():
    plan = Plan(50, 8)
    epochs = [
        np.concatenate([plan.indices(plan.step(epoch * 6 + number)) for number in range(6)]).tolist()
        for epoch in range(3)
    ]
    assert all(len(set(epoch)) == 48 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert Plan(50, 8, seed=1).order(0).tolist() != plan.order(0).tolist()


def test_steps_are_counted_over_all_epochs():
    plan = Plan(50, 8)
    assert plan.steps == 6
    assert (plan.step(13).epoch, plan.step(13).number, plan.step(13).first) == (2, 1, 8)


def test_no_two_draws_share_a_generator():
    plan = Plan(64, 8)
    drawn = [
        generator.random()
        for number in range(20)
        for step in [plan.step(number)]
        for generator in (
            plan.random_of_step(step),
            plan.random_of_mix(step),
            *(plan.random_of_image(step, row) for row in range(8)),
        )
    ]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"batch": 0}, "batch=0"),
        ({"batch": 8, "seed": -1}, "seed=-1"),
        ({"batch": 51}, "batch of 50 or less"),
        ({"batch": 8, "shard": Shard(0, 3)}, "multiple of the processes.*3 processes"),
    ],
)
def test_impossible_settings_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        Plan(50, **wrong)


def test_a_shard_must_exist():
    with pytest.raises(ValueError, match="index=2, count=2"):
        Shard(2, 2)
    with pytest.raises(ValueError, match="-1"):
        Plan(50, 8).step(-1)

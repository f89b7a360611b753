import numpy as np

from ptaudit.stats.partners import partners


def test_partners_are_of_the_other_side_and_each_others_where_sides_are_equal():
    generator = np.random.default_rng(0)
    inside = generator.permuted(np.broadcast_to(np.arange(8)[:, None] < 4, (8, 30)), axis=0)
    found = partners(inside, ~inside)
    np.testing.assert_array_equal(np.take_along_axis(inside, found, 0), ~inside)
    np.testing.assert_array_equal(np.take_along_axis(found, found, 0), np.arange(8)[:, None] + np.zeros((1, 30)))


def test_the_shorter_side_begins_again_and_a_model_of_neither_side_has_no_partner():
    inside = np.array([[True], [True], [False], [True], [False], [True]])
    outside = np.array([[False], [False], [True], [False], [True], [False]])
    outside[4] = False
    assert partners(inside, outside)[:, 0].tolist() == [2, 2, 0, 2, -1, 2]
    assert (partners(inside, np.zeros_like(inside)) == -1).all()

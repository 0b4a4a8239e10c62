import math

import pytest
import torch

from headstart.params.transfer import Augmentation
from headstart.transfer.finetune import augment

STILL = torch.zeros(1)
PICTURE = torch.arange(25.0).reshape(1, 1, 5, 5)


def test_nothing_to_change_is_no_function():
    assert augment.augmentation(Augmentation(rotation=0.0, shift=0.0, mirror=False)) is None


def test_no_angle_and_no_shift_leave_the_picture_alone():
    changed = augment.change(PICTURE, STILL, torch.zeros(1, 2), torch.tensor([False]))
    assert torch.allclose(changed, PICTURE, atol=1e-5)


def test_a_quarter_turn_is_clockwise():
    changed = augment.change(PICTURE, torch.tensor([math.pi / 2]), torch.zeros(1, 2), torch.tensor([False]))
    assert torch.allclose(changed, torch.rot90(PICTURE, -1, (2, 3)), atol=1e-4)


def test_a_half_turn_of_an_oblong_picture_keeps_its_proportions():
    oblong = torch.arange(15.0).reshape(1, 1, 3, 5)
    changed = augment.change(oblong, torch.tensor([math.pi]), torch.zeros(1, 2), torch.tensor([False]))
    assert torch.allclose(changed, oblong.flip(2, 3), atol=1e-4)


def test_a_quarter_turn_of_an_oblong_picture_does_not_stretch_it():
    # the middle row of 3 x 5 comes to stand in the middle column; of five values the middle three are in view
    oblong = torch.zeros(1, 1, 3, 5)
    oblong[0, 0, 1] = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    changed = augment.change(oblong, torch.tensor([math.pi / 2]), torch.zeros(1, 2), torch.tensor([False]))
    assert torch.allclose(changed[0, 0, :, 2], torch.tensor([2.0, 3.0, 4.0]), atol=1e-4)


def test_a_positive_shift_moves_right_and_down_and_repeats_the_border():
    changed = augment.change(PICTURE, STILL, torch.tensor([[0.2, 0.4]]), torch.tensor([False]))
    assert torch.allclose(changed[0, 0, 2:, 1:], PICTURE[0, 0, :3, :4], atol=1e-4)
    assert torch.allclose(changed[0, 0, 2:, 0], PICTURE[0, 0, :3, 0], atol=1e-4)


def test_a_mirror_swaps_left_and_right():
    changed = augment.change(PICTURE, STILL, torch.zeros(1, 2), torch.tensor([True]))
    assert torch.allclose(changed, PICTURE.flip(3), atol=1e-5)


def test_draws_stay_within_what_params_allow():
    torch.manual_seed(1)
    angles, shifts, mirrored = augment.draw(500, Augmentation(rotation=8.0, shift=0.06, mirror=False))
    assert angles.abs().max() <= math.radians(8.0)
    assert 0.05 < shifts.abs().max() <= 0.06
    assert not mirrored.any()


def test_half_of_the_pictures_are_mirrored_where_that_is_asked_for():
    torch.manual_seed(2)
    mirrored = augment.draw(1000, Augmentation(rotation=0.0, shift=0.0, mirror=True))[2]
    assert mirrored.float().mean() == pytest.approx(0.5, abs=0.06)

import torch

from emogene.emotion import losses


def test_perfect_predictions_cost_nothing():
    true = torch.randn(2, 10, 68, 3)
    weights = losses.known_points(torch.ones(2, 10, 2))
    assert losses.displacement_loss(true, true, weights) == 0
    assert losses.velocity_loss(true, true, weights) == 0
    assert losses.closure_loss(true, true, true) == 0


def test_lids_do_not_count_in_a_blink():
    weights = losses.known_points(torch.tensor([[[1.0, 1.0], [0.3, 0.9]]]))
    assert (weights[0, 0, 36:48] == 1).all()
    assert (weights[0, 1, 36:48] == 0).all()
    assert (weights[0, 1, 48:] == 2).all()


def test_lips_pulled_apart_in_a_closure_cost_more_than_elsewhere():
    shut = torch.zeros(1, 1, 68, 3)
    wide = shut.clone()
    wide[..., losses.INNER_UPPER, 1] = 0.2
    moved = torch.zeros(1, 1, 68, 3)
    moved[..., losses.INNER_UPPER, 1] = 0.03
    assert losses.closure_loss(shut + moved, shut, shut) > 3 * losses.closure_loss(wide + moved, wide, wide)


def test_kl_is_free_up_to_a_limit():
    zero = torch.zeros(4, 3)
    torch.testing.assert_close(losses.kl_to_standard_normal(zero, zero), torch.tensor(0.15))
    assert losses.kl_to_standard_normal(zero + 2, zero) > 5

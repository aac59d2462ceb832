"""ICNR: rows that are alike, and the errors of what it can't be used for."""

import json
import re

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.errors import FanError, SchemeError
from goodinit.schemes import Layout, Site, from_dict
from goodinit.streams import Stream


def up(dims: int, r: int) -> nn.Module:
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    return conv(6, 5 * r**dims, 3, padding=1)


@pytest.mark.parametrize(("dims", "r"), [(1, 3), (2, 2), (2, 3), (3, 2)])
def test_copies_are_alike_and_the_first_are_the_laws(dims: int, r: int) -> None:
    net, plain, copies = up(dims, r), up(dims, r), r**dims
    plan = gi.init_(net, {"weight": gi.ICNR(gi.HeNormal(), copies)}, seed=3)
    gi.init_(plain, {"weight": gi.HeNormal()}, seed=3)
    first = plain.weight[::copies]
    assert torch.equal(net.weight, first.repeat_interleave(copies, 0))
    assert len({row.std().item() for row in first}) == 5
    assert plan["weight"].std == pytest.approx((2 / (6 * 3**dims)) ** 0.5)
    assert gi.Plan.from_dict(json.loads(json.dumps(plan.to_dict()))).rows == plan.rows


def test_a_pixel_shuffle_repeats_pixels() -> None:
    net = nn.Sequential(up(2, 2), nn.PixelShuffle(2))
    gi.init_(net, gi.recipe("he").override(gi.Rule("0.weight", gi.ICNR(gi.Orthogonal()))), seed=0)
    y = net(torch.randn(2, 6, 4, 4))
    repeated = y[..., ::2, ::2].repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(y, repeated)


@pytest.mark.parametrize("law", [gi.Normal(0.5), gi.Orthogonal()])
@pytest.mark.parametrize("rows", [(0, 8), (3, 5), (1, 12), (11, 12)])
def test_a_part_is_that_of_the_whole(law: gi.Scheme, rows: tuple[int, int]) -> None:
    site = Site.of((12, 7), Layout(outputs=(0,), inputs=(1,)))
    stream, scheme = Stream(5), gi.ICNR(law, 4)

    def draw(out, law, purpose="", box=None):  # type: ignore[no-untyped-def]
        stream.fill_(out, "w", law, purpose=purpose, shape=site.shape, box=box)

    whole, part = torch.empty(12, 7), torch.empty(rows[1] - rows[0], 3)
    scheme.fill_part_(whole, draw, site, ((0, 12), (0, 7)))
    scheme.fill_part_(part, draw, site, (rows, (2, 5)))
    assert torch.equal(part, whole[slice(*rows), 2:5])
    assert torch.equal(whole[:4], whole[:1].expand(4, -1))


def test_a_transposed_convolution_has_its_outputs_second() -> None:
    net = nn.ConvTranspose2d(6, 8, 3)
    gi.init_(net, {"weight": gi.ICNR(gi.Normal(1.0), 4)}, seed=0)
    assert torch.equal(net.weight[:, 0], net.weight[:, 3])
    assert not torch.equal(net.weight[:, 3], net.weight[:, 4])


def test_refused() -> None:
    linear = Site.of((10, 3), Layout(outputs=(0,), inputs=(1,)))
    with pytest.raises(SchemeError, match="needs a multiple of 4 outputs, and there are 10"):
        gi.ICNR(gi.Normal(1.0)).check(linear)
    with pytest.raises(FanError, match=re.escape("give Normal(std=1)")):
        gi.ICNR(gi.Normal(1.0)).check(Site((10,)))
    for law in (gi.Keep(), gi.TorchDefault(), gi.Normal(1.0).scaled(depth=1), 0.02):
        with pytest.raises(SchemeError, match="law is a scheme with numbers"):
            gi.ICNR(law)
    with pytest.raises(SchemeError, match="copies must be a whole number from 1"):
        gi.ICNR(gi.Normal(1.0), 0)
    with pytest.raises(SchemeError, match="std"):
        from_dict({"scheme": "ICNR", "law": {"scheme": "Normal", "std": -1}})


def test_a_factor_is_the_laws() -> None:
    assert gi.ICNR(gi.Normal(2.0), 9).times(0.5) == gi.ICNR(gi.Normal(1.0), 9)

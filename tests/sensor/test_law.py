"""The noise law and the k-Sigma transform: published vectors, round trips, moments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotnoise.errors import ProfileError
from shotnoise.sensor.law import KSigma, NoiseLaw
from shotnoise.sensor.published import published_profile

V = 959.0  # white - black of the OPPO Reno 10x
# ISO, k, s2 (DN), k/V, s2/V^2, slope and offset (DN) of the transform anchored at ISO 1600.
VECTORS = [
    (100, 0.06864128, 0.18719418, 7.1576e-5, 2.0354e-7, 14.101301, 35.378017),
    (200, 0.12859395, 0.27369669, 1.3409e-4, 2.9760e-7, 7.527036, 12.942222),
    (400, 0.24849929, 0.48940801, 2.5912e-4, 5.3215e-7, 3.895107, 4.593070),
    (800, 0.48830997, 1.09165593, 5.0919e-4, 1.1870e-6, 1.982207, 1.353216),
    (1600, 0.96793133, 2.97945289, 1.0093e-3, 3.2397e-6, 1, 0),
    (3200, 1.92717405, 9.48825129, 2.0096e-3, 1.0317e-5, 0.502254, -0.605366),
    (6400, 3.84565949, 33.43866601, 4.0101e-3, 3.6359e-5, 0.251694, -0.889639),
]


def anchored():
    """The transform of the PMRID code in normalised counts: with its anchor ISO 1600 the identity."""
    law = published_profile("oppo-reno-10x").at(1600)
    return KSigma(gain=law.k[0], offset=-law.s2[0] / law.k[0])


@pytest.mark.parametrize(("iso", "k", "s2", "k_norm", "s2_norm", "slope", "offset"), VECTORS)
def test_the_published_vectors(iso, k, s2, k_norm, s2_norm, slope, offset):
    law = published_profile("oppo-reno-10x").at(iso)
    assert law.k[0] * V == pytest.approx(k, rel=1e-6)
    assert law.s2[0] * V**2 == pytest.approx(s2, rel=1e-6)
    assert law.k[0] == pytest.approx(k_norm, rel=1e-4)  # printed with five digits
    assert law.s2[0] == pytest.approx(s2_norm, rel=1e-4)
    transform = anchored()
    zero, one = (transform.forward(x, law.k[0], law.s2[0]) for x in (0.0, 1.0))
    assert one - zero == pytest.approx(slope, abs=1e-6)
    assert zero * V == pytest.approx(offset, abs=1e-6)


@pytest.mark.parametrize("root", [False, True])
@given(
    x=st.floats(-0.3, 1.5),
    k=st.floats(1e-6, 0.05),
    s2=st.floats(0, 1e-3),
    gain=st.floats(1e-3, 2),
    offset=st.floats(-1, 1),
)
def test_round_trip(root, x, k, s2, gain, offset):
    transform = KSigma(gain=gain, offset=offset, root=root)
    y = transform.forward(np.array([x]), k, s2)
    assert np.isfinite(y).all()
    # relative to the size of what is added and taken away again
    assert transform.inverse(y, k, s2)[0] == pytest.approx(x, abs=1e-5 * max(abs(x), 1e-3) + 1e-9 * s2 / k)


@pytest.mark.parametrize("root", [False, True])
def test_round_trip_in_single_precision(root):
    x = np.linspace(-0.1, 1.2, 2001, dtype=np.float32)
    for iso, *_ in VECTORS:
        law = published_profile("oppo-reno-10x").at(iso)
        k, s2 = np.float32(law.k[0]), np.float32(law.s2[0])
        transform = KSigma(root=root)
        back = transform.inverse(transform.forward(x, k, s2), k, s2)
        assert back.dtype == np.float32
        assert np.abs(back - x).max() < 1e-5


def test_the_root_is_odd_and_smooth_through_zero():
    transform = KSigma(root=True)
    f = np.linspace(-5, 5, 1001)
    y = transform.forward(f, 1.0, 0.0)
    np.testing.assert_allclose(y, -y[::-1], atol=1e-12)
    assert (np.diff(y) > 0).all()


@pytest.mark.parametrize("iso", [400, 6400])
def test_monte_carlo(iso):
    """Behind the transform variance and mean are equal: within 2 %, and the published example at 50 DN."""
    law = published_profile("oppo-reno-10x").at(iso)
    k, s2, x, n = law.k[0], law.s2[0], 50 / V, 400_000
    rng = np.random.default_rng(3)
    z = k * rng.poisson(x / k, n) + rng.normal(0, np.sqrt(s2), n)
    assert z.var() == pytest.approx(float(law.variance(np.array(x))), rel=0.02)
    f = KSigma().forward(z, k, s2)
    assert f.var() == pytest.approx(f.mean(), rel=0.02)
    y = anchored().forward(z, k, s2) * V
    mean, variance = {400: (199.36, 195.9), 6400: (11.69, 14.29)}[iso]
    assert y.mean() == pytest.approx(mean, rel=0.005)
    assert y.var() == pytest.approx(variance, rel=0.02)


def test_the_root_makes_the_noise_alike_at_every_iso():
    rng = np.random.default_rng(4)
    for iso in (100, 1600, 6400):
        law = published_profile("oppo-reno-10x").at(iso)
        for x in (0.05, 0.2, 0.8):
            z = law.k[0] * rng.poisson(x / law.k[0], 100_000) + rng.normal(0, np.sqrt(law.s2[0]), 100_000)
            stable = KSigma(gain=0.5, root=True).forward(z, law.k[0], law.s2[0])
            assert stable.std() == pytest.approx(0.5, rel=0.02)


def test_the_level_is_the_spread_behind_the_transform():
    rng = np.random.default_rng(5)
    law = published_profile("oppo-reno-10x").at(3200)
    z = law.k[0] * rng.poisson(0.5 / law.k[0], 200_000) + rng.normal(0, np.sqrt(law.s2[0]), 200_000)
    for transform in (KSigma(gain=0.3), KSigma(gain=0.3, root=True)):
        spread = transform.forward(z, law.k[0], law.s2[0]).std()
        assert np.mean(transform.level(z, law.k[0], law.s2[0])) == pytest.approx(spread, rel=0.01)
    assert KSigma().level(np.array([-1.0]), law.k[0], law.s2[0])[0] == 0


def test_variance_stays_that_without_light_below_black():
    law = NoiseLaw((1e-4, 2e-4), (1e-6, 2e-6))
    np.testing.assert_allclose(law.variance(np.array([-0.1, 0, 0.5]), 1), [2e-6, 2e-6, 1.02e-4])
    double = law.scaled(2)
    assert double.k == pytest.approx((4e-4, 8e-4))
    assert double.s2 == pytest.approx((4e-6, 8e-6))
    assert double.source.endswith(" x 2")


@pytest.mark.parametrize(
    ("k", "s2"), [((0.0,), (1.0,)), ((1.0,), (-1e-9,)), ((1.0, 1.0), (1.0,)), ((float("nan"),), (0.0,))]
)
def test_laws_that_no_sensor_has_are_refused(k, s2):
    with pytest.raises(ProfileError, match="expected one k > 0 and one variance >= 0 for each plane"):
        NoiseLaw(k, s2)

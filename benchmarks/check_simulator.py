"""
Is the simulator right? Full frames over several seeds, measured with plain numpy.

None of the reduction is used here. Each row says what was asked for, what was measured (mean over the seeds),
the error of that mean, and the difference in units of it::

    python benchmarks/check_simulator.py [--nights lfc aspen] [--seeds 10] [--size full] [--json]

The exit code is 1 if a row is off by more than 4 errors and by more than its tolerance.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace

import numpy as np

from ccdnight.simulate import (
    Physics,
    area_kernel,
    flat_series,
    make_frame,
    make_maps,
    moffat_fraction,
    night_for,
)
from ccdnight.simulate.charge import grow
from ccdnight.simulate.electronics import row_level
from ccdnight.simulate.frame import expected_charge, incident_light
from ccdnight.simulate.stars import star_positions


@dataclass(frozen=True)
class Row:
    """One number of one night; `tolerance` is relative to what was asked for, or absolute where that is 0."""

    night: str
    quantity: str
    asked: float
    values: tuple
    tolerance: float

    @property
    def measured(self):
        """Mean over the seeds."""
        return float(np.mean(self.values))

    @property
    def error(self):
        """Error of the mean, from the scatter over the seeds."""
        return float(np.std(self.values, ddof=1) / len(self.values) ** 0.5) if len(self.values) > 1 else np.nan

    @property
    def pull(self):
        """Difference in errors."""
        return (self.measured - self.asked) / self.error if self.error > 0 else np.nan

    @property
    def right(self):
        """Whether the difference is within 4 errors, or within the tolerance."""
        off = abs(self.measured - self.asked)
        return off <= self.tolerance * (abs(self.asked) or 1) or off <= 4 * self.error


def good_pixels(maps, shape):
    """Pixels without defects."""
    good = np.ones(shape, bool)
    good[maps.defects["y"], maps.defects["x"]] = False
    return good


def charge_of(raw, exposure, camera, physics, seed, maps):
    """Charge of the data frame in electron, with the true bias and gain."""
    rows = row_level(exposure, camera, physics, seed)
    level = camera.to_data(np.broadcast_to(rows[:, np.newaxis], camera.shape))
    return (camera.to_data(raw) - level - maps.bias) * camera.readouts[0].gain


def photon_transfer(night, seed):
    """Gain from the slope between two flat pairs, and read noise from two biases."""
    gain = night.camera.readouts[0].gain
    series = flat_series(night, (4000.0, 40000.0), biases=2)
    # The drift of the level along the rows is no read noise, but would add 0.2 % to it.
    physics = replace(night.physics, shutter=False, cosmic_rays=False, bias_drift=False)
    maps = make_maps(series, physics, seed)
    good = good_pixels(maps, night.camera.data_shape)
    good[:, : good.shape[1] // 4] = False
    data = [
        night.camera.to_data(make_frame(series, item, physics, seed, maps).raw)[good].astype(float)
        for item in series.exposures
    ]
    # Per pixel, so that the shape of the flat cancels: variance and mean are both averaged over it.
    means = [(data[i] + data[i + 1]).mean() / 2 for i in (2, 4)]
    variances = [np.var(data[i] - data[i + 1]) / 2 for i in (2, 4)]
    noise = np.var(data[0] - data[1]) / 2 - 1 / 12
    return {
        "gain, electron/adu": (means[1] - means[0]) / (variances[1] - variances[0]),
        "read noise, electron": gain * noise**0.5,
    }


def dark_rate(night, seed):
    """Mean of a dark less its bias, away from the glow, over its time."""
    darks = [item for item in night.exposures if item.kind == "dark"]
    if not darks:
        return {}
    dark = max(darks, key=lambda item: item.exposure)
    physics = replace(night.physics, cosmic_rays=False, hot_pixels=False, glow=False)
    only = replace(night, exposures=(dark,))
    maps = make_maps(only, physics, seed)
    good = good_pixels(maps, night.camera.data_shape)
    camera = night.camera
    raw = make_frame(only, dark, physics, seed, maps).raw
    charge = charge_of(raw, dark, camera, physics, seed, maps)[good]
    return {"dark rate, electron/s": charge.mean() / dark.dark_time}


def cosmic_ray_rate(night, seed):
    """Particles per square centimeter and minute, and the charge of one."""
    science = next(item for item in night.exposures if item.kind == "science")
    camera = night.camera
    physics = Physics.none(cosmic_rays=True, quantization=True)
    only = replace(night, exposures=(science,))
    frame = make_frame(only, science, physics, seed, make_maps(only, physics, seed))
    ny, nx = camera.data_shape
    area = ny * nx * (camera.pixel_size * 1e-4) ** 2
    rate = frame.particles / area / (science.exposure + camera.readout_time / 2) * 60
    # In a frame without stars and sky noise every pixel above the level is a cosmic ray's.
    dark = replace(science, light=0.0, field="", bias_level=1000.0)
    frame = make_frame(only, dark, physics, seed, make_maps(only, physics, seed))
    seen = (camera.to_data(frame.raw) - dark.bias_level) * camera.readouts[0].gain
    out = {"cosmic rays, 1/cm2/min": rate}
    if frame.cosmic_charge.sum() > 1e4:
        out["their charge, seen / truth"] = seen.sum() / frame.cosmic_charge.sum()
    return out


def pulls(night, seed):
    """Frames of every kind against the truth: mean and deviation of (frame - truth) / sigma."""
    out = {}
    physics, camera = night.physics, night.camera
    readout = camera.readouts[0]
    for kind in ("bias", "dark", "flat", "twilight", "science"):
        exposure = next((item for item in reversed(night.exposures) if item.kind == kind), None)
        if exposure is None:
            continue
        only = replace(night, exposures=(exposure,))
        maps = make_maps(only, physics, seed)
        frame = make_frame(only, exposure, physics, seed, maps)
        light = incident_light(only, exposure, physics, seed, maps.catalog, frame.trails)
        expected = expected_charge(exposure, maps, light)
        charge = charge_of(frame.raw, exposure, camera, physics, seed, maps)
        sigma = np.sqrt(expected + readout.read_noise**2 + readout.gain**2 / 12)
        good = good_pixels(maps, expected.shape) & ~frame.saturated
        good[frame.cosmic_y, frame.cosmic_x] = False
        pull = ((charge - expected) / sigma)[good]
        out[f"{kind}: mean pull"] = pull.mean()
        out[f"{kind}: std of pull"] = pull.std()
    return out


def flat_pattern(night, seed):
    """Rms of the mean of four flats against the truth, in units of the photon noise left."""
    series = flat_series(night, (50000.0,) * 2, biases=1)
    physics = replace(night.physics, shutter=False, cosmic_rays=False)
    maps = make_maps(series, physics, seed)
    good = good_pixels(maps, night.camera.data_shape)
    flats = [item for item in series.exposures if item.kind == "flat"]
    gain = night.camera.readouts[0].gain
    camera = night.camera
    mean = 0
    for item in flats:
        raw = make_frame(series, item, physics, seed, maps).raw
        mean = mean + charge_of(raw, item, camera, physics, seed, maps) / len(flats)
    light = flats[0].light * flats[0].exposure
    expected = light * maps.flats[night.filters[0]] + maps.dark * flats[0].dark_time
    variance = (expected + camera.readouts[0].read_noise ** 2 + gain**2 / 12) / len(flats)
    return {"flat: std / photon noise": ((mean - expected)[good] / np.sqrt(variance[good])).std()}


def star_fluxes(night, seed):
    """Sums in apertures of the noise-free light over those of the star table."""
    from photutils.aperture import CircularAperture, aperture_photometry

    science = next(item for item in night.exposures if item.kind == "science")
    physics = replace(night.physics, shutter=False)
    only = replace(night, exposures=(science,), cluster=(0, 1.0), star_density=60.0)
    catalog = make_maps(only, physics, seed).catalog
    light = incident_light(only, replace(science, light=0.0), physics, seed, catalog).astype(float)
    selected, x, y = star_positions(only, science, catalog)
    ny, nx = light.shape
    place = np.transpose([x, y])
    gap = np.hypot(*(place[:, None] - place).transpose(2, 0, 1)) + np.eye(len(place)) * 1e4
    flux = np.asarray(catalog.columns[-len(night.filters)][selected]) * science.exposure * science.transparency
    radius = 4 * science.fwhm
    lonely = (gap.min(axis=1) > 60) & (flux > 3e4)
    lonely &= (x > 20) & (x < nx - 20) & (y > 20) & (y < ny - 20)
    if not lonely.any():
        return {}
    sums = aperture_photometry(light, CircularAperture(place[lonely], radius))["aperture_sum"]
    inside = moffat_fraction(radius, science.fwhm, night.moffat_beta)
    return {"star flux in aperture / truth": np.mean(sums / flux[lonely] / inside)}


def brighter_fatter(night, seed):
    """
    Variance and neighbors' covariance of grown charge against Astier et al. 2019.

    The variance is held against eq. 16, the covariance against the solution of ``dC/dt = I + 2 I a * C`` to
    all orders, which in Fourier space is ``(exp(2 A mu) - 1) / (2 A)``.
    """
    a00, mean = night.camera.brighter_fatter_a00, 40000.0
    rng = np.random.default_rng(seed)
    frame = grow(np.full((1000, 1000), mean, np.float32), rng, a00=a00)[8:-8, 8:-8] - mean
    kernel = np.zeros((64, 64))
    kernel[:9, :9] = area_kernel(a00)
    transform = np.fft.fft2(np.roll(kernel, (-4, -4), axis=(0, 1))).real
    transform[0, 0] = 1e-30
    theory = np.fft.ifft2(np.expm1(2 * transform * mean) / (2 * transform)).real
    covariance = (np.mean(frame[:, 1:] * frame[:, :-1]) + np.mean(frame[1:] * frame[:-1])) / 2
    return {
        "brighter-fatter: var / eq. 16": frame.var() / (np.expm1(2 * a00 * mean) / (2 * a00)),
        "brighter-fatter: cov10 / theory": covariance / theory[0, 1],
    }


CHECKS = (photon_transfer, dark_rate, cosmic_ray_rate, pulls, flat_pattern, star_fluxes, brighter_fatter)

#: Relative tolerances (absolute where 0 is asked for) by the beginning of the quantity.
TOLERANCES = {"gain": 0.003, "read": 0.003, "dark rate": 0.01, "cosmic": 0.05, "brighter-fatter: cov": 0.05}


def asked_for(night, quantity):
    """What a quantity should be."""
    camera = night.camera
    if "mean pull" in quantity:
        return 0.0
    known = {
        "gain": camera.readouts[0].gain,
        "read noise": camera.readouts[0].read_noise,
        "dark rate": camera.dark_rate,
        "cosmic rays": camera.cosmic_ray_rate,
    }
    return next((value for start, value in known.items() if quantity.startswith(start)), 1.0)


def check(name, size, seeds, *, with_charge=True):
    """All rows of one night; the charge's repulsion does not depend on the night."""
    night = night_for(name, size)
    found = {}
    for seed in range(1, seeds + 1):
        for function in CHECKS:
            if function is brighter_fatter and not with_charge:
                continue
            for quantity, value in function(night, seed).items():
                found.setdefault(quantity, []).append(float(value))
    return [
        Row(name, quantity, asked_for(night, quantity), tuple(values),
            next((t for start, t in TOLERANCES.items() if quantity.startswith(start)), 0.002))
        for quantity, values in found.items()
    ]  # fmt: skip


def main():
    """Run the checks and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--nights", nargs="+", default=["lfc", "aspen"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--size", choices=("small", "full"), default="full")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    start = time.perf_counter()
    rows = [
        row
        for name in options.nights
        for row in check(name, options.size, options.seeds, with_charge=name == options.nights[0])
    ]
    if options.json:
        names = ("night", "quantity", "asked", "measured", "error", "pull", "right")
        print(json.dumps({"rows": [{name: getattr(row, name) for name in names} for row in rows]}, indent=1))
    else:
        print(f"{options.size} frames, {options.seeds} seeds, {time.perf_counter() - start:.0f} s")
        print(f"{'night':8s}{'quantity':36s}{'asked':>10s}{'measured':>12s}{'error':>10s}{'pull':>7s}")
        for row in rows:
            print(
                f"{row.night:8s}{row.quantity:36s}{row.asked:10.4f}{row.measured:12.5f}{row.error:10.5f}"
                f"{row.pull:7.1f}{'' if row.right else '  WRONG'}"
            )
    return 0 if all(row.right for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

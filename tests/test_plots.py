"""Figures: what they show of known frames, text that is not mathematics, frames of any size at once."""

import io
import subprocess
import sys

import numpy as np
import pytest
from astropy.nddata import CCDData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ccdnight import plots, read_frame
from ccdnight.flags import FLAGS
from ccdnight.simulate import simulate_night

HOSTILE = r"a $\frac{ $b_{ \\$ <script> ^"


def make_image(shape=(60, 80), **more):
    data = np.random.default_rng(3).normal(1000, 10, shape).astype(np.float32)
    return CCDData(data, unit="adu", **more)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plots")
    simulate_night(folder, "lfc", seed=1, size="small")
    return folder / "raw"


@pytest.mark.parametrize(
    "code",
    ["import ccdnight.plots", "from ccdnight import plots; import numpy as np; plots.show(np.ones((5, 6)))"],
)
def test_pyplot_is_left_alone(code):
    """Neither the import nor a figure loads pyplot, which would choose a backend."""
    check = f"{code}; import sys; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_pyplot_shows_figures_where_it_is_used():
    """Where the caller works with pyplot, the figure is one that a notebook shows."""
    code = (
        "import matplotlib; matplotlib.use('agg'); import matplotlib.pyplot as plt, numpy as np;"
        "from ccdnight import plots; ax = plots.show(np.ones((5, 6))); assert plt.gcf() is ax.figure"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("stretch", ["zscale", "asinh"])
def test_show_of_arrays_masked_arrays_and_ccd(stretch):
    """All kinds of frames are drawn on the axes that are given."""
    ccd = make_image(meta={"OBJECT": HOSTILE, "FILTER": "$g"})
    masked = np.ma.masked_greater(ccd.data, 1010)
    for frame in (ccd, ccd.data, masked, ccd.data.astype(">i2"), ccd.data.astype(np.uint16)):
        ax = Figure().add_subplot()
        assert plots.show(frame, ax, stretch=stretch) is ax
        ax.figure.savefig(io.BytesIO())
        assert ax.get_ylabel() == "row [pixel]"


def test_text_of_headers_is_no_mathematics():
    """A heading with half a formula is drawn as it stands."""
    ax = plots.show(make_image(meta={"OBJECT": HOSTILE, "FILTER": "g\n"}))
    assert ax.get_title() == f"{HOSTILE}, g"
    plots.show(make_image(), title="$x_").figure.savefig(io.BytesIO())
    labelled = plots.plot_profile(make_image(), axis=0, label=HOSTILE)
    labelled.legend()
    labelled.figure.savefig(io.BytesIO())
    ax.figure.savefig(io.BytesIO())
    plots.show(make_image(), sections={HOSTILE: "[1:9,1:9]"}).figure.savefig(io.BytesIO())


def test_masked_pixels_of_masked_arrays_are_white_and_not_counted():
    data = np.ma.masked_array(np.full((4, 6), 7.0), False)
    data[1, 2] = np.ma.masked
    data.data[1, 2] = 1e9
    drawn = plots.show(data).images[0].get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(drawn)).sum() == 1
    assert np.nanmax(np.ma.filled(drawn, np.nan)) == 7


def test_large_frames_are_averaged_in_blocks():
    """Each drawn pixel is the mean of its block, also at the edges and where a pixel is not finite."""
    data = np.random.default_rng(1).normal(0, 1, (2500, 1301)).astype(np.float32)
    data[2, 4], data[100:103, 3:6] = np.nan, np.nan
    drawn = np.ma.filled(plots.show(data).images[0].get_array(), np.nan)
    assert drawn.shape == (834, 434)
    assert drawn[0, 1] == pytest.approx(np.nanmean(data[0:3, 3:6]), rel=1e-5)
    assert drawn[-1, -1] == pytest.approx(data[2499:, 1299:].mean(), rel=1e-5)
    for row in range(2):
        assert drawn[row + 5, 7] == pytest.approx(data[3 * row + 15 : 3 * row + 18, 21:24].mean(), rel=1e-4)


def test_a_single_flagged_pixel_of_a_large_frame_is_seen():
    """Flags are joined in blocks, not averaged, and only those asked for are drawn."""
    ccd = make_image((2500, 1300))
    ccd.flags = np.zeros(ccd.data.shape, np.uint16)
    ccd.flags[1000, 700], ccd.flags[0, 0] = FLAGS["COSMIC_RAY"].value, FLAGS["SATURATED"].value
    ax = plots.show(ccd, flags=["COSMIC_RAY"])
    assert len(ax.images) == 2
    assert np.ma.count(ax.images[1].get_array()) == 1
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["cosmic ray"]
    assert len(plots.show(ccd, flags=True).images) == 3
    assert len(plots.show(ccd).images) == 1


@pytest.mark.parametrize("shape", [(60, 80), (30, 400), (400, 60)])
def test_the_legend_covers_no_pixel(shape):
    """Nor the name of the axis, and it lies in the figure."""
    ccd = make_image(shape, meta={"DATASEC": "[1:50,1:20]"})
    ccd.flags = np.zeros(ccd.data.shape, np.uint16)
    for column, flag in enumerate(FLAGS.values()):
        ccd.flags[5, column] = flag.value
    ax = plots.show(ccd, flags=True, sections=True)
    ax.figure.savefig(io.BytesIO(), dpi=ax.figure.dpi)
    legend = ax.get_legend().get_window_extent()
    assert len(ax.get_legend().get_texts()) == len(FLAGS) + 1
    assert not legend.overlaps(ax.get_window_extent())
    assert not legend.overlaps(ax.xaxis.label.get_window_extent())
    assert ax.figure.bbox.y0 <= legend.y0
    assert legend.y1 <= ax.get_window_extent().y0


def test_a_mask_without_flags_is_overlaid():
    ccd = make_image(mask=np.zeros((60, 80), bool))
    ccd.mask[5, 5] = True
    assert len(plots.show(ccd, flags=True).images) == 2


def test_section_boxes_enclose_their_pixels():
    ccd = make_image(meta={"DATASEC": "[1:70,1:60]", "BIASSEC": "[71:80,1:60]", "TRIMSEC": "[1:9999,1:60]"})
    boxes = [p.get_bbox().extents.tolist() for p in plots.show(ccd, sections=True).patches]
    assert boxes == [[-0.5, -0.5, 69.5, 59.5], [69.5, -0.5, 79.5, 59.5]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: plots.show(np.ones(5)), r"ccd has shape \(5,\)"),
        (lambda: plots.show(np.array([["a"]])), "real numbers"),
        (lambda: plots.show(np.ones((2, 2)), stretch="log"), "stretch is 'log'; allowed are 'zscale', 'asinh'"),
        (lambda: plots.show(make_image(), flags=["COSMIC"]), "known flags are BAD_PIXEL"),
        (lambda: plots.plot_profile(np.ones((3, 3)), axis=2), "axis is 2; allowed are 0, 1"),
        (lambda: plots.plot_profile(np.ones((3, 3)), axis=True), "axis is True"),
        (lambda: plots.plot_profile(np.ones((3, 3)), axis=0, region=5), "neither a section"),
        (lambda: plots.plot_profile(np.ones((3, 3)), axis=0, region=(slice(9, 12), slice(0, 2))), "holds no pixel"),
        (lambda: plots.plot_profile(np.ones((3, 3)), axis=0, region="[1:4,1:3]"), "beyond|outside|reaches|frame"),
        (lambda: plots.plot_histogram(np.full((3, 3), np.nan)), "no pixel of the frame is good"),
        (lambda: plots.plot_histogram(np.ones((3, 3)), bins=0), "bins is 0"),
        (lambda: plots.plot_overscan(np.ones((3, 3))), "plain array"),
        (lambda: plots.plot_bias_drift([]), "at least 1"),
        (lambda: plots.plot_stack_noise([np.ones((9, 9))]), "at least 2"),
        (lambda: plots.plot_stack_noise([np.ones((9, 9)), np.ones((8, 9))]), "shapes"),
        (lambda: plots.plot_stack_noise("ccd.fits"), "a list of frames is needed"),
    ],
)
def test_errors_say_what_is_allowed(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_all_values_equal_or_bad_still_draw():
    for data in (np.full((5, 5), 3.0), np.full((5, 5), np.nan), np.zeros((1, 1), np.uint8)):
        plots.show(data).figure.savefig(io.BytesIO())
        plots.plot_profile(data, axis=1).figure.savefig(io.BytesIO())


@pytest.mark.parametrize("axis", [0, 1])
def test_profile_is_the_median_of_a_region(axis):
    """In coordinates of the whole frame; masked and not finite pixels are left out."""
    ccd = make_image()
    ccd.mask = np.zeros(ccd.data.shape, bool)
    ccd.data[20, 30], ccd.data[21, 31], ccd.mask[21, 31] = np.nan, 1e9, True
    line = plots.plot_profile(ccd, axis=axis, region="[11:50,6:40]").lines[0]
    part = np.where(ccd.mask, np.nan, ccd.data)[5:40, 10:50]
    np.testing.assert_allclose(line.get_ydata(), np.nanmedian(part, axis=axis))
    assert line.get_xdata()[0] == (10 if axis == 0 else 5)


def test_a_hot_column_does_not_flatten_a_profile():
    """The others are seen, also when a second frame is drawn over the first; the axis says what is beyond it."""
    data = np.random.default_rng(1).normal(1000, 5, (50, 300))
    data[:, :15] += 200  # a gradient is no outlier
    calm = plots.plot_profile(data, axis=0)
    assert calm.get_ylim()[1] > 1190
    assert not calm.texts
    data[:, 77] = 60000
    ax = plots.plot_profile(data, axis=0)
    assert plots.plot_profile(data + 10, axis=0, ax=ax) is ax
    assert 900 < ax.get_ylim()[0] < ax.get_ylim()[1] < 1300
    assert [text.get_text() for text in ax.texts] == ["2 beyond the axis, as far as 60010"]


def test_histogram_tells_the_median_with_its_unit():
    rng = np.random.default_rng(1)
    ccd = CCDData(rng.normal(289.56, 20, (100, 100)), unit="electron")
    (text,) = plots.plot_histogram(ccd).get_legend().get_texts()
    assert text.get_text() == f"median {np.median(ccd.data):.1f} electron"


def test_clipped_profile_is_the_sky():
    """A star of a third of the row does not lift it."""
    data = np.random.default_rng(1).normal(100, 1, (9, 300))
    data[4, :60] += 5000
    level = plots.plot_profile(data, axis=1, statistic="clipped").lines[0].get_ydata()
    assert level[4] == pytest.approx(100, abs=0.5)


def test_overscan_rows_and_columns(night):
    """What is subtracted is drawn, and what is left out is told from what is used."""
    path = night / "ccd.014.0.fits"
    rows = plots.plot_overscan(path, axis=1)
    assert len(rows.lines) == 2
    assert rows.lines[1].get_ydata().mean() == pytest.approx(1127, abs=2)
    left, used = plots.plot_overscan(path, axis=0).lines[1:]
    assert left.get_xdata()[0] == 2048
    assert left.get_ydata()[0] > used.get_ydata().max() + 50
    assert used.get_xdata()[-1] == 2079


def test_histogram_counts_good_pixels():
    data = np.full((30, 30), 1000.0)
    data[:10] = 1010
    mask = np.zeros((30, 30), bool)
    mask[20:] = True
    ax = plots.plot_histogram(np.ma.masked_array(data, mask))
    assert ax.lines[0].get_xdata()[0] == 1005
    assert ax.get_xlabel() == "level"
    assert plots.plot_histogram(make_image()).get_xlabel() == "level [adu]"


def test_before_and_after_use_the_same_rows():
    """A trimmed frame is compared with those raw rows it is made of."""
    step = np.ones((100, 40))
    step[:50] = 0.5
    sky = np.random.default_rng(2).normal(1000, 1, (100, 40))
    reduced = CCDData(sky[20:90, 5:35], unit="electron", meta={"LTV1": -5, "LTV2": -20})
    ax = plots.plot_before_after(CCDData(sky * step, unit="adu"), reduced)
    raw, after = ax.lines
    assert (raw.get_xdata()[0], raw.get_xdata()[-1]) == (after.get_xdata()[0], after.get_xdata()[-1]) == (20, 89)
    assert np.ptp(after.get_ydata()) < 1
    assert np.ptp(raw.get_ydata()) > 30
    assert len(ax.figure.axes) >= 3
    single = Figure().add_subplot()
    assert plots.plot_before_after(sky * step, sky, ax=single) is single


def test_bias_drift_follows_level_and_overscan(night):
    """Both fall from the first to the second bias by the 14 adu that were put in."""
    ax = plots.plot_bias_drift([night / f"ccd.{n:03d}.0.fits" for n in range(1, 7)])
    image, overscan = (line.get_ydata() for line in ax.lines if len(line.get_ydata()) == 6)
    assert image[0] - image[1] == pytest.approx(14, abs=0.5)
    assert overscan[0] - overscan[1] == pytest.approx(14, abs=0.5)
    assert ax.get_xlabel() == "time since the first bias [minute]"


def test_stack_noise_falls_with_root_n():
    rng = np.random.default_rng(5)
    ax = plots.plot_stack_noise([rng.normal(500, 10, (400, 400)) for _ in range(9)])
    measured, line = (item.get_ydata() for item in ax.lines[:2])
    np.testing.assert_allclose(measured, 10 / np.sqrt(np.arange(1, 10)), rtol=0.02)
    np.testing.assert_allclose(line, measured, rtol=0.02)


def test_everything_returns_axes(night):
    frame = read_frame(night / "ccd.037.0.fits")
    drawn = [
        plots.show(frame),
        plots.plot_profile(frame, axis=0),
        plots.plot_overscan(frame),
        plots.plot_histogram(frame),
        plots.plot_before_after(frame, frame),
    ]
    assert all(isinstance(ax, Axes) for ax in drawn)

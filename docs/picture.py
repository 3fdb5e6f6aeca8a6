"""Draw the picture of the README: a simulated frame before and after. Run it after changes to the plots."""

import tempfile
from pathlib import Path

from ccdnight import Night, plots, read_frame
from ccdnight.simulate import simulate_night

NAME = "ccd.037.0.fits"

with tempfile.TemporaryDirectory() as folder:
    simulate_night(folder, "lfc", seed=1, size="small")
    raw = Path(folder) / "raw"
    result = Night(raw).reduce(Path(folder) / "reduced", progress=False)
    ax = plots.plot_before_after(read_frame(raw / NAME), result.science[NAME])
    ax.figure.savefig(Path(__file__).with_name("before_after.png"), dpi=72)

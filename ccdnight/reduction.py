"""What came out of a night: masters, science frames, measurements and the fate of every input."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from astropy.table import Table

from ccdnight import storage
from ccdnight._html import table_html
from ccdnight.exceptions import InputError
from ccdnight.plans import Plan
from ccdnight.products import read_ccd
from ccdnight.verifying import verify_folder

__all__ = ["NIGHT_COLUMNS", "Products", "Reduction"]

#: Columns of night.ecsv.
NIGHT_COLUMNS = ("path", "kind", "role", "fate", "reason", "output")
#: Version of run.json's format.
RUN_FORMAT = 1


class Products(Mapping):
    """
    Products by name, read when they are asked for.

    Parameters
    ----------
    folder : path-like
        Where they lie.
    files : dict of str to str
        Name to file, relative to the folder.

    Examples
    --------
    >>> from ccdnight.reduction import Products
    >>> science = Products("reduced", {"ccd.037.0.fits": "science/ccd.037.0.fits"})
    >>> list(science), science.path("ccd.037.0.fits").as_posix()  # nothing is read yet
    (['ccd.037.0.fits'], 'reduced/science/ccd.037.0.fits')
    """

    def __init__(self, folder, files):
        self._folder, self._files = Path(folder), dict(files)

    def __getitem__(self, name):
        if name not in self._files:
            msg = f"{name!r}; there are {', '.join(self._files) or 'none'}"
            raise KeyError(msg)
        return read_ccd(self.path(name))

    def __contains__(self, name):
        # That of a mapping would read the file.
        return name in self._files

    def __iter__(self):
        return iter(self._files)

    def __len__(self):
        return len(self._files)

    def __repr__(self):
        return f"Products({list(self._files)})"

    def path(self, name):
        """
        File of a product.

        Parameters
        ----------
        name : str
            One of the keys.

        Returns
        -------
        `~pathlib.Path`
        """
        return self._folder / self._files[name]


@dataclass(frozen=True, repr=False)
class Reduction:
    """
    A reduced night; `Reduction.open` reads it again from its folder.

    Attributes
    ----------
    output : `~pathlib.Path`
        The output folder.
    masters : Products
        Masters by name.
    science : Products
        Science frames by the relative POSIX path of their raw file.
    night : `~astropy.table.Table`
        One row for every input: path, kind, role, fate, reason, output.
    plan : Plan
        What was done.
    run : dict
        What ``run.json`` holds: versions, parameters, digests, counts, timings.
    pictures : dict
        Small pictures of the products by their files, made while the pixels were in memory; empty where the folder
        was opened again.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from astropy.io import fits
    >>> from ccdnight import Night, Reduction
    >>> folder, rng = TemporaryDirectory(), np.random.default_rng(1)
    >>> for number in range(3):
    ...     header = fits.Header({"IMAGETYP": "bias", "EXPTIME": 0.0, "DATE-OBS": f"2024-01-01T18:0{number}:00"})
    ...     pixels = rng.normal(1000, 5, (64, 80)).astype(np.int16)
    ...     fits.PrimaryHDU(pixels, header).writeto(f"{folder.name}/bias_{number}.fits")
    >>> result = Night(folder.name).reduce(folder.name + "/reduced", progress=False)
    >>> result.counts["used"], list(result.masters)
    (3, ['bias', 'badpixels'])
    >>> again = Reduction.open(folder.name + "/reduced")
    >>> set(again.verify()["status"].tolist())
    {'ok'}
    >>> folder.cleanup()
    """

    output: Path
    masters: Products
    science: Products
    night: Table
    plan: Plan
    run: dict
    pictures: dict = field(default_factory=dict, compare=False)

    @classmethod
    def open(cls, folder):
        """
        Read what a run left in its output folder.

        Parameters
        ----------
        folder : path-like
            The output folder.

        Returns
        -------
        Reduction

        Raises
        ------
        InputError
            If it is none, or was written by a newer ccdnight.
        """
        folder = Path(folder)
        try:
            run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            night = Table.read(folder / "night.ecsv", format="ascii.ecsv")
            night["path"] = [storage.names_again(str(path)) for path in night["path"]]
            plan = Plan.from_toml((folder / "plan.toml").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            msg = f"{folder}: no output folder of ccdnight: {Path(error.filename).name} is missing"
            raise InputError(msg) from error
        except (ValueError, KeyError) as error:
            msg = f"{folder}: cannot be read as an output folder: {error}"
            raise InputError(msg) from error
        version = run.get("format")
        if not isinstance(version, int) or version > RUN_FORMAT:
            newer = f"run.json has format {version!r}, written by a newer ccdnight"
            msg = f"{folder}: {newer}; this one reads up to {RUN_FORMAT}"
            raise InputError(msg)
        return cls.assemble(folder, night, plan, run)

    @classmethod
    def assemble(cls, folder, night, plan, run, pictures=None):
        """
        Put together what is known of a run.

        Parameters
        ----------
        folder : path-like
            The output folder.
        night : `~astropy.table.Table`
            Fate of every input.
        plan : Plan
            What was planned.
        run : dict
            Record of the run.
        pictures : dict, optional
            As the attribute.

        Returns
        -------
        Reduction
        """
        folder = Path(folder)
        masters = {name: f"{name}.fits" for name in run.get("masters", [])}
        science = {
            str(row["path"]): str(row["output"])
            for row in night
            if row["role"] == "science" and row["fate"] == "used" and str(row["output"])
        }
        masters, science = Products(folder / "masters", masters), Products(folder, science)
        return cls(folder, masters, science, night, plan, run, pictures or {})

    @property
    def coadds(self):
        """Coadds by name."""
        return Products(self.output, {name: item["output"] for name, item in self.run.get("coadds", {}).items()})

    @property
    def failures(self):
        """Rows of `night` whose input could not be used."""
        rows = [str(fate) in ("failed", "rejected") for fate in self.night["fate"]] if len(self.night) else []
        return self.night[rows] if rows else self.night[:0]

    @property
    def counts(self):
        """Number of inputs by fate, and of masters and science frames made."""
        counts = dict.fromkeys(("used", "unused", "rejected", "failed"), 0)
        for fate in self.night["fate"]:
            counts[str(fate)] += 1
        return {"inputs": len(self.night), **counts, "masters": len(self.masters), "science": len(self.science)}

    def verify(self):
        """
        Check every file of the output folder against its digest and its checksums, as ``ccdnight verify`` does.

        Returns
        -------
        `~astropy.table.Table`
            One row for every file: file, status ('ok', 'missing', 'changed' or 'bad checksum') and reason.
        """
        return verify_folder(self.output, self.run)

    def __repr__(self):
        counts = ", ".join(f"{name} {value}" for name, value in self.counts.items())
        return f"<Reduction in {self.output}: {counts}>"

    def _repr_html_(self):
        rows = [list(row) for row in self.night]
        caption = ", ".join(f"{name} {value}" for name, value in self.counts.items())
        return table_html(f"Reduction in {self.output}", self.night.colnames, rows, caption=caption)

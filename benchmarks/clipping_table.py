"""Factors by which the variance from the scatter is multiplied, for every rule and number of frames, as in the docs."""

from tables import table

from ccdnight._strips import rule_of
from ccdnight.clipping import clipping_factors, median_factor

RULES = {
    "sigma 2, median": rule_of("sigma", 2.0, 2.0),
    "sigma 2.5, median": rule_of("sigma", 2.5, 2.5),
    "sigma 3, median": rule_of("sigma", 3.0, 3.0),
    "sigma 3, mean, 1 round": rule_of("sigma", 3.0, 3.0, center="mean", maxiters=1),
    "mad 3": rule_of("mad", 3.0, 3.0),
    "minmax 1, 1": rule_of("minmax", nlow=1, nhigh=1),
    "noise 4": rule_of("noise", 4.0, 4.0, minimum=1),
}
COUNTS = (3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 30)


def main():
    """Print the table."""
    rows = []
    for name, rule in RULES.items():
        factors = [clipping_factors(rule, "average", count)[count] for count in COUNTS]
        rows.append((name, *(f"{factor:.3f}" for factor in factors)))
    rows.append(("median / mean", *(f"{median_factor(count) ** 2:.3f}" for count in COUNTS)))
    table("Factors of the variance", ("rule", *map(str, COUNTS)), rows)


if __name__ == "__main__":
    main()

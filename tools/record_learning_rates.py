"""Make data/learning_rate_curves.json: the four runs of question (e), four significant digits a loss."""

import json
import sys

from make_data import DATA, record_checksums

sys.path.insert(0, str(DATA.parent))

from helpers.warmup.learning_rates import RATES, train_on_digits


def main() -> None:
    curves = {
        name: {"rate": RATES[name], "loss": [float(f"{value:.4g}") for value in losses]}
        for name, losses in train_on_digits().items()
    }
    text = json.dumps({"unit": "nats", "step": "one batch of 8 digits", "curves": curves}, allow_nan=False)
    (DATA / "learning_rate_curves.json").write_text(text + "\n", encoding="ascii")
    record_checksums()


if __name__ == "__main__":
    main()

"""Make data/learning_rate_curves.json: the four runs of question (e), four significant digits a loss.

python -m tools.record_learning_rates
"""

import json

from helpers.warmup.learning_rates import RATES, train_on_digits
from tools.make_data import write_data


def main() -> None:
    curves = {
        name: {"rate": RATES[name], "loss": [float(f"{value:.4g}") for value in losses]}
        for name, losses in train_on_digits().items()
    }
    text = json.dumps({"unit": "nats", "step": "one batch of 8 digits", "curves": curves}, allow_nan=False)
    write_data("learning_rate_curves.json", f"{text}\n".encode())


if __name__ == "__main__":
    main()

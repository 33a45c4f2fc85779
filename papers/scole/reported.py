"""Values that were read off bitmaps in the repository of the released code, about 0.01 of error; for figures alone.

The settings behind them are not stated, so that they stand beside our curves for orientation and are no targets.
"""

BALANCED = {
    "frequency": (0.2, 0.1, 0.067, 0.05, 0.04, 0.033, 0.029, 0.025, 0.022, 0.02),
    "group": (0.66, 0.52, 0.37, 0.32, 0.27, 0.22, 0.20, 0.18, 0.16, 0.14),
    "none": (0.38, 0.21, 0.15, 0.13, 0.10, 0.09, 0.08, 0.08, 0.07, 0.07),
}
UNBALANCED = {
    "log10 p": (-3, -2.25, -2, -1.5, -1.25, -1, -0.8, -0.6),
    "fit": (0.00, 0.00, 0.00, 0.01, 0.03, 0.10, 0.17, 0.33),
}

"""Layer by layer: what the layers of a frozen network hold. Nothing here knows of runs, specs or papers."""

from common.analysis.layerwise import Picture, layerwise
from common.analysis.probes import Adam, Ridge
from common.analysis.taps import tapped
from common.analysis.views import View

__all__ = ["Adam", "Picture", "Ridge", "View", "layerwise", "tapped"]

"""SENet-154 with the signature of keras.applications.

from senet.keras_fn.senet import SENet_154

model = SENet_154(weights="imagenet")
"""

from __future__ import annotations

from senet.keras_fn.constructor import constructor

SENet_154 = constructor("senet_154", "SENet_154", __name__)

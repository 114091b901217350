"""SE-ResNeXt with the signature of keras.applications.

from senet.keras_fn.se_resnext import SE_ResNeXt_50

model = SE_ResNeXt_50(weights="imagenet")
"""

from __future__ import annotations

from senet.keras_fn.constructor import constructor

SE_ResNeXt_50 = constructor("se_resnext_50_32x4d", "SE_ResNeXt_50", __name__)
SE_ResNeXt_101 = constructor("se_resnext_101_32x4d", "SE_ResNeXt_101", __name__)

"""SE-BN-Inception with the signature of keras.applications.

from senet.keras_fn.se_inception import SE_BN_Inception

model = SE_BN_Inception(input_shape=(224, 224, 3))
"""

from __future__ import annotations

from senet.keras_fn.constructor import constructor

SE_BN_Inception = constructor("se_bn_inception", "SE_BN_Inception", __name__)

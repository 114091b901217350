"""SE-ResNet with the signature of keras.applications.

from senet.keras_fn.se_resnet import SE_ResNet_50

model = SE_ResNet_50(input_shape=(224, 224, 3), classes=10)
"""

from __future__ import annotations

from senet.keras_fn.constructor import constructor

SE_ResNet_18 = constructor("se_resnet_18", "SE_ResNet_18", __name__)
SE_ResNet_34 = constructor("se_resnet_34", "SE_ResNet_34", __name__)
SE_ResNet_50 = constructor("se_resnet_50", "SE_ResNet_50", __name__)
SE_ResNet_101 = constructor("se_resnet_101", "SE_ResNet_101", __name__)
SE_ResNet_152 = constructor("se_resnet_152", "SE_ResNet_152", __name__)

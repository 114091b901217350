"""Squeeze-and-Excitation networks for Keras 3."""

from senet import layers as layers
from senet.complexity import Complexity as Complexity
from senet.complexity import complexity as complexity
from senet.keras_fn.se_resnet import SE_ResNet_18 as SE_ResNet_18
from senet.keras_fn.se_resnet import SE_ResNet_34 as SE_ResNet_34
from senet.keras_fn.se_resnet import SE_ResNet_50 as SE_ResNet_50
from senet.keras_fn.se_resnet import SE_ResNet_101 as SE_ResNet_101
from senet.keras_fn.se_resnet import SE_ResNet_152 as SE_ResNet_152
from senet.layers import SESpec as SESpec
from senet.zoo import create_model as create_model
from senet.zoo import list_models as list_models

__version__ = "0.1.0"

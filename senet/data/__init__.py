"""Images and labels: where they come from, how they are divided, varied and batched. Needs NumPy only."""

from senet.data.augment import Augment as Augment
from senet.data.batches import Batches as Batches
from senet.data.cache import cache_folder as cache_folder
from senet.data.config import DataConfig as DataConfig
from senet.data.pipeline import Dataset as Dataset
from senet.data.pipeline import load_data as load_data
from senet.data.preprocess import Preprocess as Preprocess
from senet.data.splits import Split as Split

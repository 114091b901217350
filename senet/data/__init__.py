"""Images and labels: where they come from, how they are divided, varied and batched. Needs NumPy only."""

from senet.data.augment import Augment as Augment
from senet.data.augment import CropAndFlip as CropAndFlip
from senet.data.cache import cache_folder as cache_folder
from senet.data.config import AugmentConfig as AugmentConfig
from senet.data.config import DataConfig as DataConfig
from senet.data.dataset import Dataset as Dataset
from senet.data.dataset import EvaluationBatches as EvaluationBatches
from senet.data.dataset import TrainingBatches as TrainingBatches
from senet.data.memory import MemoryDataset as MemoryDataset
from senet.data.pipeline import load_data as load_data
from senet.data.plan import Plan as Plan
from senet.data.plan import Shard as Shard
from senet.data.preprocess import Preprocess as Preprocess
from senet.data.splits import Split as Split

"""The user's cache folder, and what is kept in it by content. Bounded, and safe to delete at any
time.
"""

from tellapart.cache.features import FeatureStore
from tellapart.cache.location import cache_folder, cache_remark
from tellapart.cache.runtimes import RuntimeMemory
from tellapart.cache.scans import ScanMemory

__all__ = ["FeatureStore", "RuntimeMemory", "ScanMemory", "cache_folder", "cache_remark"]

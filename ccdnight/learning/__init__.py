"""
An instrument profile learnt from nothing but raw frames, with the evidence for each of its values.

Headers say what frames claim to be; the pixels decide. What cannot be found is left at the generic default, and
the profile says so.
"""

from ccdnight.learning.learn import learn_profile
from ccdnight.learning.result import Finding, LearnedProfile

__all__ = ["Finding", "LearnedProfile", "learn_profile"]

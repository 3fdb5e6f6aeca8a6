"""
Compiled kernels: numba on plain arrays, without the interpreter's lock; they trust their inputs.

Importing one takes a third of a second (numba), so it waits until pixels are worked on. The first call of a kernel
compiles it, and the code is kept beside the package, or wherever numba finds a folder it may write.
"""

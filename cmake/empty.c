/* The shared library is made of the archive; CMake wants one source. */
typedef int ntmm_empty;

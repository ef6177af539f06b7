# seh_test.c at every level of optimisation: __try depends on what the compiler makes of it.
foreach(level 0 1 2 3 s)
  ntmm_test(unit ${CMAKE_CURRENT_LIST_DIR}/unit/seh_test.c ntmm_static _O${level})
  target_compile_options(test_unit.seh_test_O${level} PRIVATE -O${level})
endforeach()

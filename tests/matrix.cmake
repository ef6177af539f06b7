# The detection matrix (make matrix).
file(GLOB matrix_sources CONFIGURE_DEPENDS matrix/*.c)
add_executable(matrix ${matrix_sources})
if(TARGET sys_sinner)
  target_compile_definitions(matrix PRIVATE NTMM_SYS="${CMAKE_CURRENT_BINARY_DIR}")
  add_dependencies(matrix sys_sinner sys_pageable)
endif()
target_include_directories(matrix PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include/nt ${PROJECT_SOURCE_DIR}/include/ntmm)
target_compile_definitions(matrix PRIVATE _GNU_SOURCE)
target_compile_options(matrix PRIVATE -Wno-missing-prototypes -Wno-strict-prototypes ${NTMM_SEH_FLAGS})
target_link_libraries(matrix PRIVATE ntmm_static ntmm_flags)
if(NOT NTMM_SANITIZE) # the sins are the sanitizers' too
  add_test(NAME matrix COMMAND matrix ${CMAKE_CURRENT_SOURCE_DIR}/matrix/rows.tsv ${CMAKE_CURRENT_SOURCE_DIR}/matrix/reasons.tsv)
  set_tests_properties(matrix PROPERTIES LABELS misuse TIMEOUT 300)
endif()
# The rows have explanations of their own.
target_compile_definitions(test_unit.explain_test PRIVATE NTMM_ROWS="${CMAKE_CURRENT_SOURCE_DIR}/matrix/rows.tsv")

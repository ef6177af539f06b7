# The detection matrix (make matrix).
add_executable(matrix matrix/matrix.c)
target_include_directories(matrix PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include/nt ${PROJECT_SOURCE_DIR}/include/ntmm)
target_compile_definitions(matrix PRIVATE _GNU_SOURCE)
target_compile_options(matrix PRIVATE -Wno-missing-prototypes -Wno-strict-prototypes ${NTMM_SEH_FLAGS})
target_link_libraries(matrix PRIVATE ntmm_static ntmm_flags)
if(NOT NTMM_SANITIZE) # the sins are the sanitizers' too
  add_test(NAME matrix COMMAND matrix ${CMAKE_CURRENT_SOURCE_DIR}/matrix/rows.tsv ${CMAKE_CURRENT_SOURCE_DIR}/matrix/reasons.tsv)
  set_tests_properties(matrix PROPERTIES LABELS misuse TIMEOUT 300)
endif()

# Binary drivers that the loader's tests load, and the fuzzer over the parser.
ntmm_sys(loadme SOURCES sys/loadme.c DEF sys/newer.def OPTIONS -Wno-array-bounds)
ntmm_sys(refuses SOURCES sys/refuses.c)
ntmm_sys(dma SOURCES sys/dma.c)
ntmm_sys(olddma SOURCES sys/olddma.c)
ntmm_sys(pageable SOURCES sys/pageable.c)
ntmm_sys(sinner SOURCES sys/sinner.c)
ntmm_sys(workshop SOURCES sys/workshop.c OPTIONS -Wno-array-bounds -Wno-use-after-free)

# The fuzzer is clang's whatever compiles the rest: the parser stands alone.
find_program(NTMM_FUZZ_CLANG NAMES clang clang-14 clang-19)
if(NTMM_FUZZ_CLANG)
  set(fuzz_sources ${PROJECT_SOURCE_DIR}/src/ldr/pe.c ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/pe_fuzz.c)
  add_custom_command(OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/pe_fuzz
    COMMAND ${NTMM_FUZZ_CLANG} -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -fshort-wchar
      -fms-extensions -Wno-microsoft -I${PROJECT_SOURCE_DIR}/include/nt -I${PROJECT_SOURCE_DIR}/src ${fuzz_sources}
      -o ${CMAKE_CURRENT_BINARY_DIR}/pe_fuzz
    DEPENDS ${fuzz_sources} ${PROJECT_SOURCE_DIR}/src/ldr/pe.h ${PROJECT_SOURCE_DIR}/src/ldr/ntimage.h VERBATIM)
  add_custom_command(OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/seeds/stamp
    COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/make-seeds ${CMAKE_CURRENT_BINARY_DIR}/seeds
      ${CMAKE_CURRENT_BINARY_DIR}/loadme.sys ${CMAKE_CURRENT_BINARY_DIR}/refuses.sys
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/make-seeds sys_loadme sys_refuses VERBATIM)
  add_custom_target(fuzz_pe ALL DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/pe_fuzz ${CMAKE_CURRENT_BINARY_DIR}/seeds/stamp)
  # The same binary in every preset: once is enough, in the plain one.
  if(NOT NTMM_SANITIZE AND NOT NTMM_COVERAGE AND NOT NTMM_DEEP AND CMAKE_C_COMPILER_ID STREQUAL GNU)
    set(NTMM_FUZZ_SECONDS 60 CACHE STRING "how long the fuzz.pe test runs")
    add_test(NAME fuzz.pe COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/run-fuzz ${CMAKE_CURRENT_BINARY_DIR} ${NTMM_FUZZ_SECONDS})
    set_tests_properties(fuzz.pe PROPERTIES LABELS fuzz TIMEOUT 4000)
  endif()
endif()

# Real drivers.
file(GLOB real_tests CONFIGURE_DEPENDS real/*.c)
foreach(file ${real_tests})
  ntmm_test(real ${file} ntmm_static)
endforeach()
target_compile_definitions(test_real.workshop PRIVATE NTMM_SYS="${CMAKE_CURRENT_BINARY_DIR}" NTMM_COMMAND="$<TARGET_FILE:ntmm>"
  NTMM_SOURCE="${CMAKE_CURRENT_SOURCE_DIR}/sys/workshop.c")
add_dependencies(test_real.workshop sys_workshop ntmm)

# The border's table against what the library exports.
if(TARGET test_unit.border_test)
  target_compile_definitions(test_unit.border_test PRIVATE NTMM_SHARED="${PROJECT_BINARY_DIR}/libntmm.so")
  if(TARGET ntmm_shared) # not in sanitized builds
    add_dependencies(test_unit.border_test ntmm_shared)
  endif()
endif()
if(TARGET test_unit.dma_border_test)
  target_compile_definitions(test_unit.dma_border_test PRIVATE NTMM_SYS="${CMAKE_CURRENT_BINARY_DIR}")
  add_dependencies(test_unit.dma_border_test sys_dma sys_olddma)
endif()
if(TARGET test_unit.driver_test)
  target_compile_definitions(test_unit.driver_test PRIVATE NTMM_SYS="${CMAKE_CURRENT_BINARY_DIR}")
  add_dependencies(test_unit.driver_test sys_loadme sys_refuses)
endif()
if(TARGET test_unit.image_paging_test)
  target_compile_definitions(test_unit.image_paging_test PRIVATE NTMM_SYS="${CMAKE_CURRENT_BINARY_DIR}")
  add_dependencies(test_unit.image_paging_test sys_pageable)
endif()
if(TARGET test_misuse.irql_rules)
  target_compile_definitions(test_misuse.irql_rules PRIVATE NTMM_SYS="${CMAKE_CURRENT_BINARY_DIR}")
  add_dependencies(test_misuse.irql_rules sys_pageable)
endif()
if(TARGET test_unit.service_test AND TARGET sys_loadme)
  target_compile_definitions(test_unit.service_test PRIVATE NTMM_SYS="${CMAKE_CURRENT_BINARY_DIR}")
  add_dependencies(test_unit.service_test sys_loadme sys_refuses)
endif()
if(TARGET test_unit.cmd_test AND TARGET fuzz_pe)
  target_compile_definitions(test_unit.cmd_test PRIVATE NTMM_SYS="${CMAKE_CURRENT_BINARY_DIR}" NTMM_COMMAND="$<TARGET_FILE:ntmm>")
  add_dependencies(test_unit.cmd_test sys_loadme sys_refuses fuzz_pe ntmm)
endif()

# Driver tests written against Windows, from Debian's wine source package: fetched and built once, under build/wine.
add_test(NAME real.wine COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/real/wine.sh $<TARGET_FILE:ntmm> ${PROJECT_SOURCE_DIR}/build/wine)
set_tests_properties(real.wine PROPERTIES LABELS real TIMEOUT 400 SKIP_RETURN_CODE 77)
add_test(NAME real.citizens COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/real/citizens.sh ${PROJECT_BINARY_DIR} ${PROJECT_SOURCE_DIR}/build/wine)
set_tests_properties(real.citizens PROPERTIES LABELS real TIMEOUT 400 RESOURCE_LOCK wine_drivers)
set_tests_properties(real.wine PROPERTIES RESOURCE_LOCK wine_drivers)

# Every failure of the example driver, through the command.
add_test(NAME real.fail_each COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/real/fail_each.sh $<TARGET_FILE:ntmm>
  ${PROJECT_BINARY_DIR}/examples)
set_tests_properties(real.fail_each PROPERTIES LABELS real TIMEOUT 300)
